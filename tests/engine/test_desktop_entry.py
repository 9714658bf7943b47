"""The entry among a desktop's applications: written where the specification says, and removable."""

from __future__ import annotations

import configparser
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from engine.cli.run import main
from engine.jobs.desktop_entry import (
    desktop_data_folder,
    install_desktop_entry,
    program_words,
    remove_desktop_entry,
)
from engine.paths import data_dir

AWKWARD = '/opt/my "best" `apps`/$HOME/100 %/back\\slash/descriptor-space'


def read_entry(path: Path) -> dict[str, str]:
    """The keys of an entry with their values unescaped, as a desktop reads them."""
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path, encoding="utf-8")
    assert parser.sections() == ["Desktop Entry"]
    return {
        key: value.encode().decode("unicode_escape")
        for key, value in parser["Desktop Entry"].items()
    }


def test_entry_icon_and_type_lie_where_desktops_look(tmp_path):
    written = install_desktop_entry(tmp_path, ("/usr/bin/descriptor-space",))
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "applications/descriptor-space.desktop",
        "icons/hicolor/scalable/apps/descriptor-space.svg",
        "mime/packages/descriptor-space.xml",
    ]
    entry = read_entry(written[0])
    assert entry["Type"] == "Application"
    assert entry["Icon"] == written[1].stem
    assert entry["TryExec"] == "/usr/bin/descriptor-space"
    icon = data_dir("resources") / "icons" / "app.svg"
    assert written[1].read_bytes() == icon.read_bytes()
    (kind,) = ET.parse(written[2]).getroot()
    assert entry["MimeType"] == f"{kind.attrib['type']};"
    globs = [part.attrib["pattern"] for part in kind if part.tag.endswith("glob")]
    assert globs == ["*.descspace"]


def test_any_path_of_the_program_is_quoted(tmp_path):
    entry = read_entry(install_desktop_entry(tmp_path, (AWKWARD, "-m", "descgui"))[0])
    # A double-quoted argument of Exec is read as a shell reads it.
    script = f"for word in {entry['Exec']}; do printf '%s\\n' \"$word\"; done"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    words = [word.replace("%%", "%") for word in done.stdout.splitlines()]
    assert words == [AWKWARD, "-m", "descgui", "view", "%f"]


def test_installing_twice_and_removing_leaves_nothing(tmp_path):
    (tmp_path / "applications").mkdir()
    other = tmp_path / "applications" / "other.desktop"
    other.touch()
    written = install_desktop_entry(tmp_path, ("/a",))
    assert install_desktop_entry(tmp_path, ("/b",)) == written
    assert read_entry(written[0])["TryExec"] == "/b"
    assert remove_desktop_entry(tmp_path) == written
    assert not any(path.exists() for path in written)
    assert other.exists()
    assert remove_desktop_entry(tmp_path) == ()


@pytest.mark.parametrize(("named", "used"), [("/x/y", "/x/y"), ("", None), ("relative", None)])
def test_the_data_folder_is_that_of_the_specification(monkeypatch, named, used):
    monkeypatch.setenv("XDG_DATA_HOME", named)
    expected = Path.home() / ".local" / "share" if used is None else Path(used)
    assert desktop_data_folder() == expected


def test_a_checkout_is_started_by_its_main_file():
    python, main_file = program_words()
    assert python == sys.executable
    assert Path(main_file).name == "main.py"
    assert Path(main_file).is_file()


def test_the_command_names_the_files_and_removes_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for words in (["install-desktop"], ["install-desktop", "--remove"]):
        assert main(words, open_window=lambda _options: 1) == 0
        assert (
            str(tmp_path / "applications" / "descriptor-space.desktop") in capsys.readouterr().out
        )
    assert not [path for path in tmp_path.rglob("descriptor-space.*") if path.is_file()]
