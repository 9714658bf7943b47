"""Files in and out: within bounds or refused, whole or not at all, links and streams respected."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import (
    ConfigError,
    DescSpaceError,
    DownloadError,
    OutputError,
    ResultError,
    quoted,
)
from engine.files import (
    csv_text,
    open_input,
    parse_json,
    parse_yaml,
    part_path,
    read_input,
    read_npz,
    sha256_of,
    write_atomically,
)
from engine.jobs.output import check_output

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")

# ---- reading -----------------------------------------------------------------------------------


@posix
def test_a_pipe_is_refused_at_once(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ResultError, match="is a pipe, not a file"):
        read_input(path, ResultError)


@posix
def test_a_device_is_refused():
    with pytest.raises(ResultError, match="is a device, not a file"):
        read_input(Path("/dev/zero"), ResultError)


def test_a_folder_a_missing_file_and_no_name_at_all_are_refused(tmp_path: Path):
    for path, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "none", "is not there"),
        (tmp_path / "a\0b", "is not the name of a file"),
    ):
        with pytest.raises(ResultError, match=reason):
            read_input(path, ResultError, missing="is not there")


def test_a_link_to_a_file_is_read_and_a_file_too_long_is_not(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_input(tmp_path / "link", ResultError, most_bytes=5) == b"12345"
    with pytest.raises(ResultError, match="is larger than"):
        read_input(tmp_path / "link", ResultError, most_bytes=4)


def test_reading_asks_for_no_more_memory_than_the_file_needs(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert read_input(tmp_path / "file", ResultError, most_bytes=1 << 30) == b"12345"
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


@posix
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there are no such files")
def test_a_file_that_tells_no_size_is_read_to_its_end():
    path = Path("/proc/self/status")
    assert path.stat().st_size == 0
    data = read_input(path, ResultError)
    assert data.startswith(b"Name:")
    assert data.endswith(b"\n")
    with pytest.raises(ResultError, match="is larger than"):
        read_input(path, ResultError, most_bytes=100)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path):
    with (tmp_path / "file").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ResultError, match="is larger than 1024 MB"):
        read_input(tmp_path / "file", ResultError, most_bytes=1 << 30)


def test_what_the_system_raises_while_a_file_is_read_becomes_its_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(ResultError, match=r"cannot be read \(Input/output error\)"),
        open_input(tmp_path / "file", ResultError),
    ):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    "text",
    [
        "theme: 2020-13-45",
        "a: !!timestamp foo",
        "a: !!int foo",
        "a: !!float ''",
        "a: !!bool foo",
        "a: !!binary é",
        "a: " + "1" * 5000,
        "{[1]: 2}",
        "a: \x01",
        "a: &x [*x]",
        "a: *x",
        "[" * 200 + "]" * 200,
        "[" * 100_000,
        "a: {" * 1000,
        "- " * 1000,
        "a: 1\na: 2",
        "&a [1, 2]: 1",
    ],
)
def test_whatever_yaml_makes_its_parser_raise_is_a_value_error(text: str):
    with pytest.raises(ValueError, match=r"\w"):
        parse_yaml(text)


def test_aliases_are_counted_as_often_as_they_are_followed():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ValueError, match="holds more than"):
        parse_yaml("\n".join(lines))
    assert parse_yaml("base: &b {x: 1}\nthis:\n  <<: *b\n  y: 2") == {
        "base": {"x": 1},
        "this": {"x": 1, "y": 2},
    }


def test_a_fault_in_yaml_is_named_with_its_place():
    with pytest.raises(ValueError, match=r"names 'a' twice, line 3, column 3"):
        parse_yaml("b:\n  a: 1\n  a: 2")


def test_json_nested_too_deeply_is_a_value_error():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1 << 20))
    assert read_npz(tmp_path / "a.npz", ResultError)["a"].shape == (1 << 20,)
    with pytest.raises(ResultError, match="too large"):
        read_npz(tmp_path / "a.npz", ResultError, most_bytes=1 << 20)


@pytest.mark.parametrize("cut", [0, 10, 100, -30])
def test_a_damaged_archive_is_refused(tmp_path: Path, cut: int):
    np.savez(tmp_path / "a.npz", a=np.arange(100))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[:cut])
    with pytest.raises(ResultError, match="is damaged"):
        read_npz(tmp_path / "a.npz", ResultError)


def test_pickled_objects_are_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ResultError, match="is damaged"):
        read_npz(tmp_path / "a.npz", ResultError)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("b.npy", b"no array")
    with pytest.raises(ResultError, match="is damaged"):
        read_npz(tmp_path / "a.npz", ResultError)


# ---- messages ----------------------------------------------------------------------------------


def test_a_value_in_a_message_is_cut_and_its_control_characters_are_escaped():
    assert quoted("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(quoted("x" * 10_000)) == 201


def test_a_message_holds_no_control_characters_from_outside():
    text = str(ResultError(Path("a\x1b[2J\n\u202eb"), "is\x07 bad"))
    assert text == r"a\x1b[2J\n\u202eb: is\x07 bad."
    assert str(DescSpaceError("two\nlines\x1b")) == "two\nlines\\x1b"


@pytest.mark.parametrize(
    "make",
    [
        lambda text: ResultError(Path("a.json"), text),
        lambda text: ConfigError("name", text),
        lambda text: ConfigError(text, "there is no such setting"),
        lambda text: DownloadError("http://a", text),
    ],
)
def test_what_a_parser_quotes_of_a_file_can_neither_break_nor_bury_the_sentence(
    make: Callable[[str], DescSpaceError],
):
    """The text of a foreign parser may hold the whole file."""
    text = str(make("bad\nline" + 5000 * "y"))
    assert "\n" not in text
    assert r"bad\nline" in text
    assert len(text) < 1100


# ---- writing -----------------------------------------------------------------------------------


@posix
def test_a_link_stays_and_its_file_is_written(tmp_path: Path):
    for target in ("there", "not there yet"):
        link = tmp_path / f"to {target}"
        link.symlink_to(target)
        write_atomically(link, b"new")
        assert link.is_symlink()
        assert (tmp_path / target).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 4


@posix
def test_a_device_gets_the_bytes_and_stays(tmp_path: Path):
    before = os.stat("/dev/null").st_mode  # noqa: PTH116
    check_output(Path("/dev/null"))
    write_atomically(Path("/dev/null"), b"x")
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(link, b"x")
    assert link.is_symlink()
    assert os.stat("/dev/null").st_mode == before  # noqa: PTH116


@posix
def test_a_pipe_gets_the_bytes_and_one_without_a_reader_is_refused(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(path, b"x")
    content = os.urandom(1 << 20)  # more than a pipe holds
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    while reader.is_alive():
        try:
            write_atomically(path, content)
            break
        except OutputError:  # the reader has not opened it yet
            continue
    reader.join()
    assert found == [content]
    assert path.is_fifo()


@posix
@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="/dev/stdout is needed")
def test_standard_output_is_written_to_as_a_stream(tmp_path: Path):
    code = (
        "from pathlib import Path\n"
        "from engine.files import write_atomically\n"
        "from engine.jobs.output import check_output\n"
        "print('before', flush=True)\n"
        "check_output(Path('/dev/stdout'))\n"
        "write_atomically(Path('/dev/stdout'), b'content\\n')\n"
    )
    with (tmp_path / "out").open("ab") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\ncontent\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_temporary_names_are_cut_by_bytes(tmp_path: Path):
    name = "é" * 120 + ".csv"  # 244 bytes
    write_atomically(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    part = part_path(tmp_path / name)
    assert len(os.fsencode(part.name)) <= 255
    assert part != part_path(tmp_path / name)


def test_nothing_is_left_where_writing_fails(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_atomically(tmp_path / "folder", b"x")
    with pytest.raises(OutputError, match="its folder does not exist"):
        write_atomically(tmp_path / "none" / "file", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_cells_that_a_spreadsheet_would_run_are_escaped_and_numbers_are_not():
    cells = [
        "=1+1",
        "+cmd",
        "-x",
        "@sum",
        "\tx",
        "\n=1",
        "-1.5",
        "+2",
        "-1e-3",
        "-inf",
        "a=b",
        "",
        None,
    ]
    text = csv_text([cells, [-0.1, 1 / 3, 2, True]])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        [
            "'=1+1",
            "'+cmd",
            "'-x",
            "'@sum",
            "'\tx",
            "'\n=1",
            "-1.5",
            "+2",
            "-1e-3",
            "-inf",
            "a=b",
            "",
            "",
        ],
        ["-0.1", "0.3333333333333333", "2", "True"],
    ]


def test_a_file_is_hashed_in_parts_as_in_one(tmp_path: Path):
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 5000)
    assert sha256_of(path, ResultError) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ResultError, match="does not exist"):
        sha256_of(tmp_path / "none", ResultError)
