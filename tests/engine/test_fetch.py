"""Fetching weights from a hub on this computer: one that is honest, and many that are not."""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from engine.cli.run import main
from engine.data.download import Patience
from engine.data.hub import HubFile, ask_hub, download_hub_file, download_torch_file
from engine.descriptors.families.hub_files import Published
from engine.descriptors.families.transformers_files import weights_files
from engine.descriptors.registry import (
    build_descriptor,
    list_families,
    make_spec,
    weights_were_found,
)
from engine.errors import ConfigError, DescSpaceError, DownloadError, JobCancelled, OutputError
from engine.extras import EXTRAS
from engine.jobs.fetch import FetchJob, fetch_missing, model_weights_state
from engine.progress import Event, JobContext, Note, Progress, Stage
from engine.writer_lock import sole_writer

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("huggingface_hub") is None,
        reason=f"needs the extra timm: {EXTRAS['timm']}",
    ),
    # The hub's library leaves the sockets of connections that failed to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

REPOSITORY = Path(__file__).resolve().parents[2]
AT_ONCE = Patience(retries=1, pause_s=0.0, timeout_s=2.0)
REPO, NAME = "someone/net", "model.safetensors"
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
BODY = bytes(np.random.default_rng(1).integers(0, 256, 3_000_000, dtype=np.uint8))
SMALL = b'{"architecture": "test_resnet"}'

Page = Callable[[BaseHTTPRequestHandler], None]


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


@dataclass
class Hub:
    """A server that answers what the hub's library asks: HEAD and GET of ``resolve``.

    Files of git LFS are sent by another path, as the hub sends them by another host.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    heads: dict[str, Any] = field(default_factory=dict)
    other: Page | None = None
    other_head: Page | None = None
    cut: int | None = None
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    def name_of(self, path: str) -> str:
        return unquote(path.partition("/resolve/")[2].partition("/")[2])

    def head(self, handler: BaseHTTPRequestHandler) -> None:
        if self.other_head is not None:
            self.other_head(handler)
            return
        name = self.name_of(handler.path)
        body = self.files.get(name)
        if body is None:
            handler.send_response(404)
            handler.send_header("X-Error-Code", "EntryNotFound")
            handler.end_headers()
            return
        large = len(body) > 1000
        headers: dict[str, Any] = {"X-Repo-Commit": COMMIT}
        if large:
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(body).hexdigest()}"'
            headers["X-Linked-Size"] = len(body)
            headers["Location"] = f"{self.address.replace('127.0.0.1', 'localhost')}/cdn/{name}"
        else:
            headers["ETag"] = f'"{git_sha1(body)}"'
            headers["Content-Length"] = len(body)
        headers |= self.heads
        handler.send_response(302 if large else 200)
        for key, value in headers.items():
            if value is not None:
                handler.send_header(key, str(value))
        handler.end_headers()

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        if self.other is not None:
            self.other(handler)
            return
        cdn = handler.path.startswith("/cdn/")
        name = handler.path.removeprefix("/cdn/") if cdn else self.name_of(handler.path)
        body = self.files[name]
        if not cdn and len(body) > 1000:
            handler.send_response(302)
            place = self.address.replace("127.0.0.1", "localhost")
            handler.send_header("Location", f"{place}/cdn/{name}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        asked = handler.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        handler.send_header("Content-Length", str(len(body) - begin))
        handler.send_header("ETag", '"cdn"')
        handler.end_headers()
        end = len(body) if self.cut is None else begin + self.cut
        handler.close_connection = end < len(body)
        handler.wfile.write(body[begin:end])

    def note(self, handler: BaseHTTPRequestHandler) -> None:
        host = handler.headers.get("Host", "")
        login, ranges = handler.headers.get("Authorization"), handler.headers.get("Range")
        self.asked.append(
            (f"{handler.command} {host.partition(':')[0]}", handler.path, login, ranges)
        )


@pytest.fixture(scope="module", autouse=True)
def _no_garbage_of_the_hub() -> Iterator[None]:
    """Collects those sockets here, where the warning is expected, and not in a later test."""
    yield
    gc.collect()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "huggingface" / "hub"


def use_endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub(files={NAME: BODY, "config.json": SMALL})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            made.note(self)
            made.head(self)

        def do_GET(self) -> None:
            made.note(self)
            made.get(self)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_args: object) -> None:
            """Clients that leave are expected."""

    server = Server(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    use_endpoint(monkeypatch, made.address)  # as HF_ENDPOINT does when the library is imported
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    yield made
    importlib.import_module("huggingface_hub").close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def ask(name: str = NAME, context: JobContext | None = None) -> HubFile:
    found = ask_hub(REPO, "main", (name,), context or JobContext(), patience=AT_ONCE)
    assert found is not None
    return found


def load(context: JobContext | None = None) -> Path:
    return download_hub_file(ask(), context or JobContext(), patience=AT_ONCE)


def sending(
    body: bytes = b"", *, status: int = 200, length: int | None = None, **headers: str
) -> Page:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if length is None or length >= 0:
            handler.send_header("Content-Length", str(len(body) if length is None else length))
        else:
            handler.close_connection = True
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    return page


def files_in(cache: Path) -> list[str]:
    """Files and links under the cache, without what locks left."""
    return sorted(
        str(one.relative_to(cache)) for one in cache.rglob("*") if one.is_symlink() or one.is_file()
    )


# ---- an honest hub -------------------------------------------------------------------------------


def test_a_file_goes_where_the_hubs_own_library_finds_it(hub: Hub, cache: Path) -> None:
    import huggingface_hub

    events: list[Event] = []
    place = load(JobContext(emit=events.append))
    assert place.read_bytes() == BODY
    for own in (
        huggingface_hub.try_to_load_from_cache(REPO, NAME, cache_dir=cache),
        huggingface_hub.hf_hub_download(REPO, NAME, cache_dir=cache, local_files_only=True),
    ):
        assert Path(str(own)) == place
    told = huggingface_hub.scan_cache_dir(cache)
    assert [(one.repo_id, one.size_on_disk) for one in told.repos] == [(REPO, len(BODY))]
    assert told.warnings == []
    folder = f"models--{REPO.replace('/', '--')}"
    digest = hashlib.sha256(BODY).hexdigest()
    assert files_in(cache) == [
        f"{folder}/blobs/{digest}",
        f"{folder}/refs/main",
        f"{folder}/snapshots/{COMMIT}/{NAME}",
    ]
    assert Progress(Stage.DOWNLOADING, 3, 3) in events


def test_small_files_are_checked_by_gits_own_hash(hub: Hub) -> None:
    hub.heads = {"ETag": f'"{git_sha1(SMALL[::-1])}"'}
    with pytest.raises(DownloadError, match="not what its hash tells"):
        download_hub_file(ask("config.json"), JobContext(), patience=AT_ONCE)
    hub.heads = {}
    place = download_hub_file(ask("config.json"), JobContext(), patience=AT_ONCE)
    assert place.read_bytes() == SMALL


def test_what_is_in_the_cache_is_not_loaded_again(hub: Hub) -> None:
    load()
    before = len([one for one in hub.asked if one[0].startswith("GET")])
    load()
    assert len([one for one in hub.asked if one[0].startswith("GET")]) == before


def test_the_first_of_several_names_that_exists_is_taken(hub: Hub) -> None:
    found = ask_hub(REPO, "main", ("none.bin", NAME), JobContext(), patience=AT_ONCE)
    assert found is not None
    assert found.name == NAME
    assert ask_hub(REPO, "main", ("none.bin",), JobContext(), patience=AT_ONCE) is None


def test_a_connection_that_breaks_is_continued(hub: Hub) -> None:
    hub.cut = 1_300_000
    assert load().read_bytes() == BODY
    ranges = [one[3] for one in hub.asked if one[1].startswith("/cdn/")]
    assert ranges == [None, "bytes=1300000-", "bytes=2600000-"]


def test_a_stopped_download_keeps_what_it_loaded_and_goes_on_there(hub: Hub, cache: Path) -> None:
    hub.cut = 1_300_000
    context = JobContext(emit=lambda event: stop(event))

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.done >= 1:
            context.cancel.cancel()

    with pytest.raises(JobCancelled):
        load(context)
    assert [one for one in files_in(cache) if "snapshots" in one or "refs" in one] == []
    [part] = cache.rglob("*.part")
    have = part.stat().st_size
    assert 0 < have < len(BODY)
    hub.cut = None
    hub.asked.clear()
    assert load().read_bytes() == BODY
    assert f"bytes={have}-" in [one[3] for one in hub.asked]
    assert list(cache.rglob("*.part*")) == []


def test_a_login_is_for_the_hub_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    load()
    to_hub = {one[2] for one in hub.asked if one[0].endswith("127.0.0.1")}
    to_others = {one[2] for one in hub.asked if one[0].endswith("localhost")}
    assert to_hub == {"Bearer hf_secret"}
    assert to_others == {None}


# ---- hubs that refuse, and hubs that lie ---------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (sending(status=401), "refuses it without a login"),
        (sending(status=404, X_Error_Code="RepoNotFound"), "does not exist, or is open only"),
        (sending(status=403, X_Error_Code="GatedRepo"), "accepted its terms"),
        (sending(status=404, X_Error_Code="RevisionNotFound"), "has no revision 'main'"),
        (sending(status=429), "answers 429"),
        (sending(status=500), "answers 500"),
        (sending(status=418), "answers 418"),
        (sending(b"<html>Log in</html>"), "tells no commit"),
        (sending(X_Repo_Commit="../../../x", ETag='"1"'), "tells no commit"),
    ],
)
def test_a_hub_that_refuses_is_told_in_one_sentence(
    hub: Hub, cache: Path, page: Page, reason: str
) -> None:
    hub.other_head = page
    with pytest.raises(DownloadError, match=reason) as caught:
        ask()
    assert "\n" not in str(caught.value)
    assert files_in(cache) == []


@pytest.mark.parametrize(
    ("heads", "reason"),
    [
        ({"X-Linked-Etag": '"../../../../evil"'}, "no hash"),
        ({"X-Linked-Etag": '"abc"'}, "no hash"),
        ({"X-Linked-Etag": None}, "no hash"),
        ({"X-Linked-Size": None}, "no size"),
        ({"X-Linked-Size": "-5"}, "no size"),
        ({"X-Linked-Size": str(10**15)}, "no size"),
        ({"X-Repo-Commit": "main"}, "no commit"),
    ],
)
def test_a_hub_whose_facts_cannot_be_true_is_not_believed(
    hub: Hub, cache: Path, heads: dict[str, Any], reason: str
) -> None:
    hub.heads = heads
    with pytest.raises(DownloadError, match=reason):
        ask()
    assert files_in(cache) == []


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(b"x" * 100_000)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (sending(BODY[:-1]), "sends 2999999 bytes instead of 3000000"),
        (sending(BODY[::-1]), "not what its hash tells"),
        (sending(b"<html>Not here</html>"), "instead of 3000000"),
        (sending(b"<html>Not here</html>", length=-1), "connection ended after 21"),
        (endless, "more than the 3000000 bytes"),
        (sending(status=403), "refuses it"),
        (sending(status=500), "answers 500"),
        (sending(status=302, Location="file:///etc/passwd"), "url 'file:"),
        (sending(status=302, Location="ftp://localhost/x"), "sends us on to ftp:"),
    ],
)
def test_a_body_that_is_not_the_file_leaves_nothing_and_the_next_try_works(
    hub: Hub, cache: Path, page: Page, reason: str
) -> None:
    hub.other = page
    with pytest.raises(DownloadError, match=reason) as caught:
        load()
    assert "\n" not in str(caught.value)
    assert [one for one in files_in(cache) if ".part" not in one] == []
    hub.other = None
    assert load().read_bytes() == BODY


def test_a_redirect_in_a_ring_ends(hub: Hub) -> None:
    hub.other_head = lambda page: sending(status=302, Location=page.path)(page)
    with pytest.raises(DownloadError, match="redirect"):
        ask()


@pytest.mark.parametrize("stage", ["asking", "loading"])
def test_silence_can_be_left_at_once(hub: Hub, cache: Path, stage: str) -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(_handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        over.wait(20)

    file = ask()
    if stage == "asking":
        hub.other_head = silent
    else:
        hub.other = silent
    context, ended = JobContext(), []

    def work() -> None:
        try:
            if stage == "asking":
                ask(context=context)
            else:
                download_hub_file(file, context, patience=AT_ONCE)
        except JobCancelled:
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    assert asked.wait(5)
    context.cancel.cancel()
    begin = time.monotonic()
    thread.join(2)
    waited_s = time.monotonic() - begin
    over.set()
    assert ended == [True]
    assert waited_s < 1


def test_silence_ends_by_itself_in_one_sentence(hub: Hub) -> None:
    over = threading.Event()
    hub.other_head = lambda _handler: over.wait(20)
    with pytest.raises(DownloadError, match="no answer in time"):
        ask_hub(REPO, "main", (NAME,), JobContext(), patience=Patience(retries=0, timeout_s=0.3))
    over.set()


def test_nobody_at_the_address_is_told_in_one_sentence(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/someone/net: cannot be reached"):
        ask()


def test_offline_means_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE forbids it"):
        ask()
    assert hub.asked == []


def test_two_writers_and_a_full_disk_are_refused_before_anything_is_loaded(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ask()
    hub.asked.clear()
    blobs = cache / "models--someone--net" / "blobs"
    with sole_writer(blobs, file.digest), pytest.raises(OutputError, match="being written"):
        download_hub_file(file, JobContext(), patience=AT_ONCE)
    assert hub.asked == []
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: type("Disk", (), {"free": 1000}))
    with pytest.raises(OutputError, match="GB free"):
        download_hub_file(file, JobContext(), patience=AT_ONCE)
    assert [one for one in files_in(cache) if not one.endswith(".txt")] == []


def test_a_blob_that_another_program_cut_short_is_loaded_again(hub: Hub) -> None:
    place = load()
    blob = place.resolve()
    place.unlink()
    blob.write_bytes(BODY[:10])
    assert load().read_bytes() == BODY


def test_files_of_torchs_hub_are_checked_by_their_names(hub: Hub, tmp_path: Path) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    hub.other = sending(BODY)
    target = tmp_path / f"net-{digest[:8]}.pth"
    url = f"{hub.address}/x/{target.name}"

    def load_as(place: Path) -> Path:
        start = Published(url=f"{hub.address}/x/{place.name}").url_sha256
        return download_torch_file(url, place, JobContext(), sha256_start=start, patience=AT_ONCE)

    assert load_as(target).read_bytes() == BODY
    with pytest.raises(DownloadError, match="not what its hash tells"):
        load_as(tmp_path / "net-00000000.pth")
    assert [one.name for one in tmp_path.glob("*.pth*")] == [target.name]


def test_where_links_cannot_be_made_the_file_itself_gets_the_name(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    place = load()
    assert place.is_file()
    assert not place.is_symlink()
    assert place.read_bytes() == BODY


def test_a_model_of_transformers_is_fetched_with_what_describes_it(hub: Hub, cache: Path) -> None:
    name = "transformers:someone/net@3"
    assert model_weights_state(name).state == "download"
    FetchJob(names=(name,), patience=AT_ONCE).run(JobContext())
    folder = cache / "models--someone--net" / "snapshots" / COMMIT
    assert (folder / NAME).read_bytes() == BODY
    assert (folder / "config.json").read_bytes() == SMALL
    hub.asked.clear()
    fetch_missing([(name, {})], JobContext())  # the third file, which there is none of, is optional
    assert hub.asked == []


PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def serve_parts(hub: Hub, listed: object) -> str:
    del hub.files[NAME]
    hub.files |= dict.fromkeys(PARTS[:1], BODY) | dict.fromkeys(PARTS[1:], BODY[:2000])
    hub.files[f"{NAME}.index.json"] = json.dumps({"weight_map": listed}).encode()
    return "transformers:someone/net"


def test_weights_in_several_parts_are_fetched_as_a_whole(hub: Hub, cache: Path) -> None:
    name = serve_parts(hub, {"a.weight": PARTS[0], "b.weight": PARTS[1], "c.weight": PARTS[0]})
    assert model_weights_state(name).state == "download"
    FetchJob(names=(name,), patience=AT_ONCE).run(JobContext())
    folder = cache / "models--someone--net" / "snapshots" / COMMIT
    assert weights_files(folder) == tuple(folder / one for one in PARTS)
    assert [len((folder / one).read_bytes()) for one in PARTS] == [3_000_000, 2000]
    hub.asked.clear()
    fetch_missing([(name, {})], JobContext())
    assert hub.asked == []
    (folder / PARTS[1]).unlink()  # a download that was stopped
    fetch_missing([(name, {})], JobContext())
    assert weights_files(folder) == tuple(folder / one for one in PARTS)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ({"a": "../config.json"}, "which is not in its folder"),
        ({"a": "/etc/passwd"}, "which is not in its folder"),
        ({"a": "deep/part.safetensors"}, "which is not in its folder"),
        ({"a": 3}, "which is not in its folder"),
        ({"a": "absent.safetensors"}, "but does not have it"),
        ([], "lists no files"),
    ],
)
def test_a_list_of_parts_that_cannot_be_followed_is_refused(
    hub: Hub, listed: object, words: str
) -> None:
    name = serve_parts(hub, listed)
    with pytest.raises(DescSpaceError, match=words):
        FetchJob(names=(name,), patience=AT_ONCE).run(JobContext())


# ---- named networks ------------------------------------------------------------------------------

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason=f"needs the extra timm: {EXTRAS['timm']}"
)
MODEL = "test_resnet.r160_in1k"


@pytest.fixture
def served_model(hub: Hub, tmp_path: Path) -> Hub:
    """The hub has random weights of a small model of timm, and what timm writes beside them."""
    import torch

    from engine.descriptors.families.timm_models import import_timm

    timm = import_timm()
    with torch.random.fork_rng():
        torch.manual_seed(8)
        model = timm.create_model(MODEL)
    timm.models.save_for_hf(model, tmp_path / "served", safe_serialization=True)
    for name in (NAME, "config.json"):
        hub.files[name] = (tmp_path / "served" / name).read_bytes()
    return hub


@needs_timm
def test_the_state_of_a_model_tells_what_a_download_would_bring(served_model: Hub) -> None:
    before = model_weights_state(f"timm:{MODEL}")
    assert before.state == "download"
    assert before.title == "timm/test_resnet.r160_in1k"
    real_mb = len(served_model.files[NAME]) / 1e6
    assert before.size_mb == pytest.approx(real_mb, rel=0.05)
    assert served_model.asked == []  # no network
    assert not weights_were_found(f"timm:{MODEL}", {})
    events: list[Event] = []
    [file] = FetchJob(names=(f"timm:{MODEL}",), patience=AT_ONCE).run(
        JobContext(emit=events.append)
    )
    assert file.read_bytes() == served_model.files[NAME]
    notes = [one.text for one in events if isinstance(one, Note)]
    assert notes == [f"Loading {round(real_mb)} MB from huggingface.co/timm/{MODEL}."]
    after = model_weights_state(f"timm:{MODEL}")
    assert (after.state, after.title) == ("cached", f"timm/{MODEL} (cache)")
    assert weights_were_found(f"timm:{MODEL}", {})
    assert not weights_were_found(f"timm:{MODEL}", {"untrained": True})
    assert not weights_were_found("daisy", {})


@needs_timm
def test_a_repository_is_fetched_with_its_config(served_model: Hub) -> None:
    assert model_weights_state("timm:hf-hub:someone/net").state == "download"
    FetchJob(names=("timm:hf-hub:someone/net@2",), patience=AT_ONCE).run(JobContext())
    assert model_weights_state("timm:hf-hub:someone/net").state == "cached"


@needs_timm
def test_models_without_published_weights_are_told_apart(tmp_path: Path, hub: Hub) -> None:
    assert model_weights_state("timm:starnet_s100").state == "none"
    assert model_weights_state("daisy").state == "unknown"
    with pytest.raises(ConfigError, match="nobody published weights of timm:starnet_s100"):
        FetchJob(names=("timm:starnet_s100",)).run(JobContext())
    with pytest.raises(DescSpaceError, match="has no 'no_such_model'"):
        FetchJob(names=("timm:no_such_model",)).run(JobContext())


@pytest.mark.skipif(
    importlib.util.find_spec("kornia") is None, reason=f"needs the extra kornia: {EXTRAS['kornia']}"
)
def test_weights_that_cannot_be_checked_are_to_be_loaded_by_hand_and_nothing_else_is_said(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    where = "https://github.com/verlab/accelerated_features/raw/main/weights/xfeat.pt"
    found = model_weights_state("kornia:xfeat")
    assert (found.state, found.address) == ("by-hand", where)
    family = next(one for one in list_families() if one.name == "kornia")
    listed = {one.name: one.weights for one in family.models()}
    assert (listed["kornia:xfeat"], listed["kornia:disk"]) == ("by-hand", "download")
    build_descriptor(make_spec("kornia:xfeat"))
    assert f"random numbers. Load them yourself from {where}" in caplog.text
    with pytest.raises(DownloadError, match="tells no hash of its content; load it yourself"):
        FetchJob(names=("kornia:xfeat",), patience=AT_ONCE).run(JobContext())
    assert hub.asked == []


def test_a_network_can_be_fetched_only_if_the_one_inside_it_can() -> None:
    checked, unchecked = (Published(url=f"https://x/{one}") for one in ("a-0123abcd.pth", "a.pth"))
    assert checked.fetchable
    assert not unchecked.fetchable
    assert replace(checked, inner=checked).fetchable
    assert not replace(checked, inner=unchecked).fetchable


@needs_timm
def test_only_what_is_missing_and_wanted_is_fetched(served_model: Hub, tmp_path: Path) -> None:
    name = f"timm:{MODEL}"
    chosen = {"weights": str(tmp_path / "mine.safetensors")}
    fetch_missing([("daisy", {}), (name, {"untrained": True}), (name, chosen)], JobContext())
    assert served_model.asked == []
    fetch_missing([(name, {}), (name, {})], JobContext())
    assert [one[1] for one in served_model.asked if one[0].startswith("GET 127")] != []
    served_model.asked.clear()
    fetch_missing([(name, {})], JobContext())
    assert served_model.asked == []


def run(words: list[str]) -> int:
    return main(words, open_window=lambda _options: 0)


@needs_timm
def test_the_command_downloads_weights_by_names(
    served_model: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["download", f"timm:{MODEL}"]) == 0
    printed = Path(capsys.readouterr().out.strip())
    assert printed.read_bytes() == served_model.files[NAME]
    assert run(["download", "resnet18"]) != 0
    assert "neither hpatches nor a name" in capsys.readouterr().err
    assert run(["download", f"timm:{MODEL}", "--dir", str(tmp_path)]) != 0
    assert "weights go where" in capsys.readouterr().err


@needs_timm
def test_nothing_is_fetched_without_the_flag(
    served_model: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from PIL import Image

    image = tmp_path / "photo.png"
    Image.new("RGB", (96, 64)).save(image)
    line = ["describe", str(image), "--descriptor", f"timm:{MODEL}@0", "--out"]
    assert run([*line, str(tmp_path / "a.npz")]) == 0
    assert served_model.asked == []
    assert "(untrained)" in capsys.readouterr().out
    assert run([*line, str(tmp_path / "b.npz"), "--download"]) == 0
    assert "(untrained)" not in capsys.readouterr().out
    assert served_model.asked != []


def test_the_window_opens_after_the_weights_are_there(hub: Hub, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    seen: list[tuple[bool, str]] = []

    def open_window(options: Any) -> int:
        seen.append((options.download, model_weights_state(options.descriptor).state))
        return 0

    words = ["view", str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    words += ["--descriptor", "transformers:someone/net"]
    assert main(words, open_window=open_window) == 0
    assert main([*words, "--download"], open_window=open_window) == 0
    assert [one[0] for one in seen] == [False, True]
    assert seen[0][1] == "download"
    assert seen[1][1] != "download"


def test_several_processes_do_not_download_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("RANK", "1")
    words = ["evaluate", "--dataset", "demo", "--out", str(tmp_path), "--download"]
    assert run([*words, "--descriptor", "timm:resnet18"]) != 0
    assert "does not go with several processes" in capsys.readouterr().err


def test_the_variables_of_the_hub_say_where_to_ask_and_where_to_keep(
    hub: Hub, tmp_path: Path
) -> None:
    home = tmp_path / "elsewhere"
    done = subprocess.run(
        [sys.executable, "main.py", "download", "transformers:someone/net"],
        cwd=REPOSITORY,
        env={**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place = Path(done.stdout.strip())
    assert place.is_relative_to(home / "hub" / "models--someone--net")
    assert place.read_bytes() == BODY
    offline = subprocess.run(
        [sys.executable, "main.py", "download", "transformers:someone/other"],
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert offline.returncode != 0
    assert "HF_HUB_OFFLINE" in offline.stderr
    assert "Traceback" not in offline.stderr
