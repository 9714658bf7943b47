"""Loading HPatches from servers that break off, lie, refuse, and serve what must not be unpacked.

The network is a server of our own on this computer; what a file should hold is known because the
test made it.
"""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.cli.run import main
from engine.data import download
from engine.data.archives import Limits, extract_archive
from engine.data.download import Patience, download_hpatches, fetch
from engine.data.layouts import open_pair_set
from engine.errors import DatasetError, DownloadError, JobCancelled, OutputError
from engine.evaluation.datasets import open_evaluation_set
from engine.progress import Event, JobContext, Note, Progress, Stage

AT_ONCE = Patience(retries=2, pause_s=0.0, timeout_s=5.0)
BODY = bytes(np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8))


@dataclass
class Site:
    """A server: one function for each path, and the requests it received."""

    address: str = ""
    pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    if_ranges: list[str | None] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.ranges.append(self.headers.get("Range"))
            made.if_ranges.append(self.headers.get("If-Range"))
            page = made.pages.get(self.path.lstrip("/"))
            if page is None:
                self.send_error(404)
            else:
                page(self)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    *,
    status: int = 200,
    length: int | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def honest(body: bytes, *, tag: str = '"one"', cut: int | None = None) -> Callable[..., None]:
    """A server that knows ranges; it sends at most ``cut`` bytes a time and then hangs up."""

    def page(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        same = handler.headers.get("If-Range") in (None, tag)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and same else 0
        part = body[begin:] if cut is None else body[begin : begin + cut]
        headers = {"ETag": tag}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        status = 206 if begin else 200
        send(handler, part, status=status, length=len(body) - begin, headers=headers)

    return page


def quiet() -> JobContext:
    return JobContext()


def listening() -> tuple[JobContext, list[Event]]:
    events: list[Event] = []
    return JobContext(emit=events.append), events


# ---- one file ----------------------------------------------------------------------------------


def test_a_file_that_breaks_off_four_times_is_continued_and_ends_whole(
    site: Site, tmp_path: Path
) -> None:
    site.pages["file.zip"] = honest(BODY, cut=70_000)
    context, events = listening()
    digest = fetch(site.url("file.zip"), tmp_path / "file.zip", context, patience=AT_ONCE)
    assert (tmp_path / "file.zip").read_bytes() == BODY
    assert digest == hashlib.sha256(BODY).hexdigest()
    expected = [None, *(f"bytes={begin}-" for begin in (70_000, 140_000, 210_000, 280_000))]
    assert site.ranges == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.zip"]
    assert Progress(Stage.DOWNLOADING, 1, 1) in events


def test_a_cancelled_download_is_continued_by_the_next_one(site: Site, tmp_path: Path) -> None:
    context, half = quiet(), threading.Event()

    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.send_header("ETag", '"one"')
        handler.end_headers()
        handler.wfile.write(BODY[:200_000])
        handler.wfile.flush()
        half.wait(10)

    site.pages["file.zip"] = page
    part = tmp_path / "file.zip.part"

    def stop_after_some(event: Event) -> None:
        if part.exists() and part.stat().st_size >= 100_000:
            context.cancel.cancel()

    watching = JobContext(emit=stop_after_some, cancel=context.cancel)
    stopper = threading.Timer(0.5, context.cancel.cancel)
    stopper.start()
    with pytest.raises(JobCancelled):
        fetch(site.url("file.zip"), tmp_path / "file.zip", watching, patience=AT_ONCE)
    stopper.cancel()
    half.set()
    have = part.stat().st_size
    assert 0 < have <= 200_000
    assert not (tmp_path / "file.zip").exists()
    site.pages["file.zip"] = honest(BODY)
    fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert (tmp_path / "file.zip").read_bytes() == BODY
    assert site.ranges[-1] == f"bytes={have}-"
    assert site.if_ranges[-1] == '"one"'


def test_a_silent_server_can_be_left_at_once(site: Site, tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def page(_handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        over.wait(20)

    site.pages["file.zip"] = page
    context = quiet()
    ended: list[bool] = []

    def load() -> None:
        with pytest.raises(JobCancelled):
            fetch(site.url("file.zip"), tmp_path / "file.zip", context, patience=AT_ONCE)
        ended.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    assert asked.wait(5)
    context.cancel.cancel()
    thread.join(2)
    over.set()
    assert ended == [True]


def test_a_server_that_ignores_ranges_makes_the_file_begin_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    site.pages["file.zip"] = lambda handler: send(handler, BODY)
    fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert site.ranges == ["bytes=1000-"]
    assert (tmp_path / "file.zip").read_bytes() == BODY


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("name", ["file.zip.part", "file.zip.part.txt"])
def test_a_pipe_in_place_of_a_part_is_replaced_and_never_waited_for(
    site: Site, tmp_path: Path, name: str
) -> None:
    os.mkfifo(tmp_path / name)
    site.pages["file.zip"] = honest(BODY)
    context = quiet()
    done = threading.Event()

    def load() -> None:
        fetch(site.url("file.zip"), tmp_path / "file.zip", context, patience=AT_ONCE)
        done.set()

    threading.Thread(target=load, daemon=True).start()
    assert done.wait(10)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_file_that_was_published_anew_meanwhile_is_not_glued_to_the_old_part(
    site: Site, tmp_path: Path
) -> None:
    def once(handler: BaseHTTPRequestHandler) -> None:
        honest(b"old" * 1000, tag='"old"', cut=100)(handler)
        site.pages["file.zip"] = lambda later: later.send_error(503)

    site.pages["file.zip"] = once
    with pytest.raises(DownloadError, match="503"):
        fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert (tmp_path / "file.zip.part").read_bytes() == (b"old" * 1000)[:100]
    site.pages["file.zip"] = honest(BODY, tag='"new"')
    fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_server_that_answers_with_another_part_is_not_believed(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY[:1000])

    def page(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Range"):
            headers = {"Content-Range": f"bytes 5000-{len(BODY) - 1}/{len(BODY)}"}
            send(handler, BODY[5000:], status=206, headers=headers)
        else:
            send(handler, BODY)

    site.pages["file.zip"] = page
    fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_part_that_was_whole_already_is_taken(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY)

    def page(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"", status=416, headers={"Content-Range": f"bytes */{len(BODY)}"})

    site.pages["file.zip"] = page
    fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY + b"more")

    def page(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Range"):
            send(handler, b"", status=416, headers={"Content-Range": f"bytes */{len(BODY)}"})
        else:
            send(handler, BODY)

    site.pages["file.zip"] = page
    fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_server_that_announces_more_than_it_sends_is_given_up_with_both_numbers(
    site: Site, tmp_path: Path
) -> None:
    site.pages["file.zip"] = lambda handler: send(handler, b"x" * 500, length=900)
    with pytest.raises(DownloadError, match="500 of the 900 bytes announced, also after 2 further"):
        fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert len(site.ranges) == 4  # the one that brought something, and three that did not
    assert not (tmp_path / "file.zip").exists()


def test_a_missing_file_is_given_up_without_asking_again(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the server refuses it \\(404"):
        fetch(site.url("gone.zip"), tmp_path / "gone.zip", quiet(), patience=AT_ONCE)
    assert len(site.ranges) == 1


def test_a_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        if len(site.ranges) < 3:
            handler.send_error(503)
        else:
            send(handler, BODY)

    site.pages["file.zip"] = page
    fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/file.zip"  # the discard port: nobody listens
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/file\.zip: cannot be reached"):
        fetch(url, tmp_path / "file.zip", quiet(), patience=AT_ONCE)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a.zip", "a.zip"])
def test_only_addresses_of_the_web_are_loaded(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="begins with http"):
        fetch(url, tmp_path / "file.zip", quiet(), patience=AT_ONCE)


def test_a_disk_that_is_too_small_is_found_before_anything_is_written(
    site: Site, tmp_path: Path
) -> None:
    huge = 1 << 50
    site.pages["file.zip"] = lambda handler: send(handler, b"x" * 1000, length=huge)
    with pytest.raises(OutputError, match=r"GB free, and at least .* GB are needed"):
        fetch(site.url("file.zip"), tmp_path / "file.zip", quiet(), patience=AT_ONCE)
    assert not (tmp_path / "file.zip.part").exists()


# ---- archives ----------------------------------------------------------------------------------


def zip_of(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)  # dated 1980, so the bytes are the same each time
            opened.writestr(info, data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def tar_of(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as opened:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
        for info in extra:
            opened.addfile(info)
    return content.getvalue()


def tar_info(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name: str, target: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        info = zipfile.ZipInfo(name)
        info.create_system = 3
        info.external_attr = 0o120777 << 16
        opened.writestr(info, target)
    return content.getvalue()


GOOD = {"set/a.txt": b"alpha", "set/deep/b.txt": b"beta" * 5000, "set/empty": b""}


def open_sockets() -> int:
    sockets = [made for made in gc.get_objects() if type(made) is socket.socket]
    return sum(made.fileno() != -1 for made in sockets)


@pytest.mark.parametrize("code", [302, 404])
def test_a_refusal_leaves_no_connection_open(site: Site, tmp_path: Path, code: int) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Location", "ftp://127.0.0.1/x.zip")
        handler.send_header("Content-Length", "3")
        handler.end_headers()
        handler.wfile.write(b"no\n")

    site.pages["x.zip"] = page
    gc.collect()
    gc.disable()  # it would close what was forgotten, at some time, with a warning
    try:
        before = open_sockets()
        with pytest.raises(DownloadError) as told:  # kept, as one that reports it keeps it
            fetch(site.url("x.zip"), tmp_path / "x.zip", quiet(), patience=AT_ONCE)
        deadline = time.monotonic() + 10.0
        while open_sockets() > before and time.monotonic() < deadline:
            time.sleep(0.01)  # the server's side ends in its own thread
        assert open_sockets() == before
        assert site.address in str(told.value)
    finally:
        gc.enable()


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_a_good_archive_comes_out_byte_for_byte(
    make: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    archive = tmp_path / "good"
    archive.write_bytes(make(GOOD))
    context, events = listening()
    extract_archive(archive, tmp_path / "out", context)
    found = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == GOOD
    assert Progress(Stage.UNPACKING, 3, 3) in events


EVIL = {
    "a way up in a zip": zip_of({"ok": b"1", "../evil": b"2"}),
    "a hidden way up in a zip": zip_of({"ok": b"1", "a/../../evil": b"2"}),
    "an absolute name in a zip": zip_of({"ok": b"1", "/evil": b"2"}),
    "a Windows way up in a zip": zip_of({"ok": b"1", "..\\evil": b"2"}),
    "a drive in a zip": zip_of({"ok": b"1", "C:evil": b"2"}),
    "a link in a zip": zip_link("evil", "/etc/passwd"),
    "a way up in a tar": tar_of({"ok": b"1", "../evil": b"2"}),
    "an absolute name in a tar": tar_of({"ok": b"1", "/evil": b"2"}),
    "a link in a tar": tar_of({"ok": b"1"}, tar_info("evil", tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link in a tar": tar_of({"ok": b"1"}, tar_info("evil", tarfile.LNKTYPE, "../evil")),
    "a device in a tar": tar_of({"ok": b"1"}, tar_info("evil", tarfile.CHRTYPE)),
    "a pipe in a tar": tar_of({"ok": b"1"}, tar_info("evil", tarfile.FIFOTYPE)),
}


@pytest.mark.parametrize("what", EVIL)
def test_what_could_leave_the_folder_is_refused_and_nothing_is_left(
    what: str, tmp_path: Path
) -> None:
    place = tmp_path / "inner"
    place.mkdir()
    archive = place / "archive"
    archive.write_bytes(EVIL[what])
    with pytest.raises(DatasetError, match="refused"):
        extract_archive(archive, place / "out", quiet())
    assert [path.name for path in place.iterdir()] == ["archive"]
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_a_bomb_is_refused_by_its_size(
    make: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    archive = tmp_path / "bomb"
    archive.write_bytes(make({f"zeros{number}": bytes(1 << 20) for number in range(8)}))
    assert archive.stat().st_size < 100_000
    with pytest.raises(DatasetError, match="refused"):
        extract_archive(archive, tmp_path / "out", quiet(), limits=Limits(size_bytes=4 << 20))
    assert [path.name for path in tmp_path.iterdir()] == ["bomb"]


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_too_many_files_are_refused(
    make: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    archive = tmp_path / "many"
    archive.write_bytes(make({f"{number}": b"" for number in range(30)}))
    with pytest.raises(DatasetError, match="more than 20 files"):
        extract_archive(archive, tmp_path / "out", quiet(), limits=Limits(files=20))
    assert [path.name for path in tmp_path.iterdir()] == ["many"]


def test_a_zip_whose_sizes_lie_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"zeros": bytes(1 << 20)}))
    real = struct.pack("<L", 1 << 20)
    assert data.count(real) == 2  # in the local header and in the directory
    archive = tmp_path / "liar"
    archive.write_bytes(bytes(data).replace(real, struct.pack("<L", 10)))
    with pytest.raises(DatasetError):
        extract_archive(archive, tmp_path / "out", quiet())
    assert [path.name for path in tmp_path.iterdir()] == ["liar"]


def test_a_tar_header_of_absurd_length_does_not_fill_the_memory(tmp_path: Path) -> None:
    info = tar_info("long", tarfile.XHDTYPE)
    info.size = 1 << 33
    archive = tmp_path / "tar"
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(DatasetError, match="absurd length"):
        extract_archive(archive, tmp_path / "out", quiet())


def test_the_same_name_twice_is_refused_in_either_case(tmp_path: Path) -> None:
    archive = tmp_path / "twice"
    archive.write_bytes(zip_of({"a/File": b"1", "a/file": b"2"}))
    with pytest.raises(DatasetError, match="twice"):
        extract_archive(archive, tmp_path / "out", quiet())


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_cut_archive_is_called_broken(
    share: float, make: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    random = np.random.default_rng(1).bytes(20_000)
    whole = make({"a": random[:10_000], "b": random[10_000:]})
    archive = tmp_path / "cut"
    archive.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DatasetError, match="broken archive"):
        extract_archive(archive, tmp_path / "out", quiet())
    assert [path.name for path in tmp_path.iterdir()] == ["cut"]


def test_cancelling_the_unpacking_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "good"
    archive.write_bytes(zip_of(GOOD))
    context = quiet()
    stopping = JobContext(emit=lambda _event: context.cancel.cancel(), cancel=context.cancel)
    with pytest.raises(JobCancelled):
        extract_archive(archive, tmp_path / "out", stopping)
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


# ---- the whole way -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sequences() -> dict[str, bytes]:
    """A data set of two sequences, as stored in the archive."""
    generator = np.random.default_rng(2)
    files: dict[str, bytes] = {}
    for name in ("i_wall", "v_wall"):
        for number in (1, 2):
            content = io.BytesIO()
            pixels = generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(content, "PPM")
            files[f"hpatches-sequences-release/{name}/{number}.ppm"] = content.getvalue()
        files[f"hpatches-sequences-release/{name}/H_1_2"] = b"1 0 0\n0 1 0\n0 0 1\n"
    return files


def test_the_second_address_helps_where_the_first_is_dead(
    site: Site, tmp_path: Path, sequences: dict[str, bytes], fresh_home: Path
) -> None:
    site.pages["b/hpatches.tar.gz"] = honest(tar_of(sequences), cut=3000)
    context, events = listening()
    urls = (site.url("a/hpatches.zip"), site.url("b/hpatches.tar.gz"))
    target = tmp_path / "döta"
    place = download_hpatches(target, context, urls=urls, patience=AT_ONCE)
    assert place == target / "hpatches-sequences-release"
    assert [s.name for s in open_pair_set(place).groups] == ["i_wall", "v_wall"]
    assert [path.name for path in target.iterdir()] == ["hpatches-sequences-release"]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == 1
    assert "404" in notes[0]


def test_what_is_there_already_is_not_loaded_again(
    site: Site, tmp_path: Path, sequences: dict[str, bytes], fresh_home: Path
) -> None:
    site.pages["h.zip"] = honest(zip_of(sequences))
    urls = (site.url("h.zip"),)
    first = download_hpatches(tmp_path / "d", quiet(), urls=urls, patience=AT_ONCE)
    asked = len(site.ranges)
    assert download_hpatches(tmp_path / "d", quiet(), urls=urls, patience=AT_ONCE) == first
    assert len(site.ranges) == asked


def test_a_changed_file_is_refused_though_another_address_would_have_one(
    site: Site, tmp_path: Path, sequences: dict[str, bytes], fresh_home: Path
) -> None:
    site.pages["h.zip"] = honest(zip_of(sequences))
    download_hpatches(tmp_path / "1", quiet(), urls=(site.url("h.zip"),), patience=AT_ONCE)
    records = json.loads((fresh_home / "data" / "downloads.json").read_text())
    assert records["h.zip"]["sha256"] == hashlib.sha256(zip_of(sequences)).hexdigest()
    changed = {**sequences, "hpatches-sequences-release/readme": b"hello"}
    site.pages["h.zip"] = honest(zip_of(changed))
    site.pages["h.tar.gz"] = honest(tar_of(changed))
    urls = (site.url("h.zip"), site.url("h.tar.gz"))
    with pytest.raises(DownloadError, match=r"is not the one of 20.*downloads\.json"):
        download_hpatches(tmp_path / "2", quiet(), urls=urls, patience=AT_ONCE)
    assert list((tmp_path / "2").iterdir()) == []


def test_an_archive_that_is_no_data_set_is_thrown_away_and_not_recorded(
    site: Site, tmp_path: Path, fresh_home: Path
) -> None:
    site.pages["h.zip"] = honest(zip_of({"readme.txt": b"hello"}))
    with pytest.raises(DownloadError, match="holds no image sequences"):
        download_hpatches(tmp_path / "d", quiet(), urls=(site.url("h.zip"),), patience=AT_ONCE)
    assert list((tmp_path / "d").iterdir()) == []
    assert not (fresh_home / "data" / "downloads.json").exists()


def test_an_evil_archive_leads_to_the_next_address(
    site: Site, tmp_path: Path, sequences: dict[str, bytes], fresh_home: Path
) -> None:
    site.pages["a.zip"] = honest(zip_of({**sequences, "../evil": b"x"}))
    site.pages["b.zip"] = honest(zip_of(sequences))
    urls = (site.url("a.zip"), site.url("b.zip"))
    place = download_hpatches(tmp_path / "d", quiet(), urls=urls, patience=AT_ONCE)
    assert len(open_pair_set(place).groups) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["d"]


def test_a_file_whose_announced_length_is_too_short_is_not_taken_for_whole(
    site: Site, tmp_path: Path, sequences: dict[str, bytes], fresh_home: Path
) -> None:
    body = zip_of(sequences)
    site.pages["h.zip"] = lambda handler: send(handler, body, length=len(body) // 2)
    with pytest.raises(DownloadError, match="broken archive"):
        download_hpatches(tmp_path / "d", quiet(), urls=(site.url("h.zip"),), patience=AT_ONCE)
    assert list((tmp_path / "d").iterdir()) == []


def test_a_folder_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "hpatches-sequences-release").mkdir()
    (tmp_path / "hpatches-sequences-release" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="is in the way"):
        download_hpatches(tmp_path, quiet(), urls=())
    assert (tmp_path / "hpatches-sequences-release" / "mine.txt").read_text() == "keep"


def test_unreadable_records_stop_the_download_instead_of_forgetting_the_hashes(
    site: Site, tmp_path: Path, sequences: dict[str, bytes], fresh_home: Path
) -> None:
    (fresh_home / "data").mkdir()
    (fresh_home / "data" / "downloads.json").write_text("{broken")
    site.pages["h.zip"] = honest(zip_of(sequences))
    with pytest.raises(OutputError, match=r"downloads\.json: cannot be read"):
        download_hpatches(tmp_path / "d", quiet(), urls=(site.url("h.zip"),), patience=AT_ONCE)


def test_the_command_loads_into_the_folder_where_evaluate_looks(
    site: Site,
    tmp_path: Path,
    sequences: dict[str, bytes],
    fresh_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site.pages["h.zip"] = honest(zip_of(sequences))
    monkeypatch.setattr(download, "HPATCHES_URLS", (site.url("h.zip"),))
    monkeypatch.setenv("DESCGUI_DATA", str(tmp_path / "data"))
    assert main(["download", "hpatches"], open_window=lambda _options: 1) == 0
    place = Path(capsys.readouterr().out.strip())
    assert place == tmp_path / "data" / "hpatches-sequences-release"
    assert open_evaluation_set("HPATCHES_VIEW").root == place


def test_the_addresses_of_hpatches_are_two_and_of_two_kinds() -> None:
    assert download.HPATCHES_URLS[0].endswith("hpatches-sequences-release.zip")
    assert "vbalnt/hpatches" in download.HPATCHES_URLS[0]
    assert download.HPATCHES_URLS[1].endswith("hpatches-sequences-release.tar.gz")
