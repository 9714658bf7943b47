"""The program among a Linux desktop's applications: entry, icon, and the type of session files.

Everything lies below one data folder (``$XDG_DATA_HOME``, by default ``~/.local/share``), by the
specifications of freedesktop.org: Desktop Entry 1.5, Icon Theme 0.13, Shared MIME-info 0.22.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.errors import DescSpaceError, OutputError, file_errors
from engine.files import make_folder, write_atomically
from engine.paths import APP_NAME, checkout_dir, data_dir
from engine.vocabulary import SESSION_SUFFIX

MIME_TYPE: Final = f"application/x-{APP_NAME}-session"
_ENTRY: Final = Path("applications", f"{APP_NAME}.desktop")
_ICON: Final = Path("icons", "hicolor", "scalable", "apps", f"{APP_NAME}.svg")
_TYPES: Final = Path("mime", "packages", f"{APP_NAME}.xml")
_REFRESH: Final = (
    ("update-desktop-database", "applications"),
    ("update-mime-database", "mime"),
)
_REFRESH_TIMEOUT_S: Final = 30


def desktop_data_folder() -> Path:
    """Where the user's applications, icons and types of files are described."""
    named = os.environ.get("XDG_DATA_HOME", "")
    # By the specification a relative path counts as none.
    return Path(named) if os.path.isabs(named) else Path.home() / ".local" / "share"  # noqa: PTH117


def program_words() -> tuple[str, ...]:
    """The command that starts this program, with absolute paths.

    The installed command beside the running Python; in a checkout, its ``main.py``.
    """
    folder = Path(sys.executable).absolute().parent
    installed = folder / APP_NAME
    checkout = checkout_dir()
    if checkout is not None:
        return sys.executable, str(checkout / "main.py")
    if installed.is_file():
        return (str(installed),)
    return sys.executable, "-m", "descgui"


def install_desktop_entry(folder: Path, program: Sequence[str]) -> tuple[Path, ...]:
    """Write entry, icon and type; what is there already is replaced.

    Args:
        folder: such as :func:`desktop_data_folder`.
        program: the command that starts the program, with absolute paths.

    Returns:
        The files.

    Raises:
        OutputError: one of them cannot be written.
    """
    icon = (data_dir("resources") / "icons" / "app.svg").read_bytes()
    contents = {
        _ENTRY: _entry_text(program).encode("utf-8"),
        _ICON: icon,
        _TYPES: _types_text().encode("utf-8"),
    }
    for name, content in contents.items():
        make_folder((folder / name).parent)
        write_atomically(folder / name, content)
    _refresh(folder)
    return tuple(folder / name for name in contents)


def remove_desktop_entry(folder: Path) -> tuple[Path, ...]:
    """Remove what :func:`install_desktop_entry` wrote.

    Returns:
        The files that were there.

    Raises:
        OutputError: one of them cannot be removed.
    """
    found = tuple(folder / name for name in (_ENTRY, _ICON, _TYPES) if (folder / name).exists())
    for path in found:
        with file_errors(OutputError, path, "cannot be removed"):
            path.unlink()
    if found:
        _refresh(folder)
    return found


def check_desktop() -> None:
    """Refuse systems without such entries.

    Raises:
        DescSpaceError: this is Windows or macOS.
    """
    if sys.platform in ("win32", "darwin"):
        raise DescSpaceError(
            "Entries of this kind are for desktops on Linux; here, make a shortcut to the command "
            f"{APP_NAME!r}."
        )


def _entry_text(program: Sequence[str]) -> str:
    command = " ".join(_exec_word(word) for word in program)
    lines = {
        "Type": "Application",
        "Name": "Descriptor Space",
        "GenericName": "Image Descriptor Viewer",
        "Comment": "See what a dense image descriptor does",
        "TryExec": _escaped(program[0]),
        "Exec": f"{command} view %f",
        "Icon": APP_NAME,
        "Terminal": "false",
        "Categories": "Science;ImageProcessing;",
        "Keywords": "descriptor;matching;correspondence;computer vision;",
        "MimeType": f"{MIME_TYPE};",
        "StartupWMClass": APP_NAME,
    }
    return "[Desktop Entry]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


def _exec_word(word: str) -> str:
    """An argument of ``Exec``: quoted, then escaped as every value is."""
    quoted = word
    for sign in '\\"`$':
        quoted = quoted.replace(sign, f"\\{sign}")
    return _escaped(f'"{quoted}"').replace("%", "%%")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def _types_text() -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MIME_TYPE}">
    <sub-class-of type="application/json"/>
    <comment>Descriptor Space session</comment>
    <icon name="{APP_NAME}"/>
    <glob pattern="*{SESSION_SUFFIX}"/>
  </mime-type>
</mime-info>
"""


def _refresh(folder: Path) -> None:
    """Tell the desktop; one without these tools looks by itself."""
    for tool, name in _REFRESH:
        found = shutil.which(tool)
        if found is not None and (folder / name).is_dir():
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    [found, str(folder / name)],
                    capture_output=True,
                    check=False,
                    timeout=_REFRESH_TIMEOUT_S,
                )
