"""Fill .venv with what Descriptor Space needs; costs a fraction of a second when nothing changed.

Run by setup.sh, or by hand with a virtual environment's Python, on any system:

    python .ci/setup.py [--window] [--xvfb]

``--window`` is said before the window opens: what only a window needs is then demanded, and a
missing display is reported.  ``--xvfb`` installs a virtual display, where that can be done, for the
tests that use one.  Needs nothing but Python's own library.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
NO_DISPLAY = (
    "There is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set), so no window can open;"
    " what works without one is `.venv/bin/python main.py match`, `describe` and `doctor`, and,"
    " with QT_QPA_PLATFORM=offscreen set, `view ... --screenshot FILE`."
)


class SetupError(Exception):
    """The set-up cannot go on; the text is meant for the person."""


class Library(NamedTuple):
    """A shared library that the wheels expect from the system.

    Attributes:
        file: what the loader looks for.
        packages: its package on Debian and Ubuntu; where the name changed, the newer one first.
        window: needed only to open a window on an X display.
    """

    file: str
    packages: tuple[str, ...]
    window: bool = False


# The libraries that Qt's own ones name as needed (objdump -p) and no wheel brings along.
LIBRARIES = (
    Library("libstdc++.so.6", ("libstdc++6",)),
    Library("libGL.so.1", ("libgl1",)),
    Library("libEGL.so.1", ("libegl1",)),
    Library("libX11.so.6", ("libx11-6",)),
    Library("libdbus-1.so.3", ("libdbus-1-3",)),
    Library("libfontconfig.so.1", ("libfontconfig1",)),
    Library("libfreetype.so.6", ("libfreetype6",)),
    Library("libglib-2.0.so.0", ("libglib2.0-0t64", "libglib2.0-0")),
    Library("libgthread-2.0.so.0", ("libglib2.0-0t64", "libglib2.0-0")),
    Library("libxkbcommon.so.0", ("libxkbcommon0",)),
    Library("libX11-xcb.so.1", ("libx11-xcb1",), window=True),
    Library("libxcb.so.1", ("libxcb1",), window=True),
    Library("libxcb-cursor.so.0", ("libxcb-cursor0",), window=True),
    Library("libxcb-icccm.so.4", ("libxcb-icccm4",), window=True),
    Library("libxcb-image.so.0", ("libxcb-image0",), window=True),
    Library("libxcb-keysyms.so.1", ("libxcb-keysyms1",), window=True),
    Library("libxcb-randr.so.0", ("libxcb-randr0",), window=True),
    Library("libxcb-render.so.0", ("libxcb-render0",), window=True),
    Library("libxcb-render-util.so.0", ("libxcb-render-util0",), window=True),
    Library("libxcb-shape.so.0", ("libxcb-shape0",), window=True),
    Library("libxcb-shm.so.0", ("libxcb-shm0",), window=True),
    Library("libxcb-sync.so.1", ("libxcb-sync1",), window=True),
    Library("libxcb-util.so.1", ("libxcb-util1",), window=True),
    Library("libxcb-xfixes.so.0", ("libxcb-xfixes0",), window=True),
    Library("libxcb-xkb.so.1", ("libxcb-xkb1",), window=True),
    Library("libxkbcommon-x11.so.0", ("libxkbcommon-x11-0",), window=True),
)
FONT = Library("a font", ("fonts-dejavu-core",))


def requirements(pyproject: Path) -> list[str]:
    """What a checkout is run and checked with: the dependencies and those of the extra ``dev``."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def stamp_key(*files: Path) -> str:
    """A text that changes with the files or with the Python that runs."""
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def install(repository: Path, venv: Path, pip: Callable[[Sequence[str]], int]) -> bool:
    """Bring the packages in ``venv`` up to date, unless its stamp says that they are.

    Args:
        repository: the checkout.
        venv: the virtual environment.
        pip: runs ``pip install`` with arguments and returns its exit status.

    Returns:
        True if pip had to run.

    Raises:
        SetupError: pip failed; the next call tries again, from nothing if a package is half
            unpacked or pip was killed.
    """
    stamp, unfinished = venv / "stamp", venv / "unfinished"
    pyproject, constraints = repository / "pyproject.toml", repository / "constraints.txt"
    key = stamp_key(pyproject, constraints)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        return False
    stamp.unlink(missing_ok=True)
    unfinished.touch()
    status = pip(["--constraint", str(constraints), *requirements(pyproject)])
    if status == 0 or (status > 0 and is_whole(venv)):
        unfinished.unlink()
    if status:
        raise SetupError("The packages could not be installed: pip's own words stand above.")
    stamp.write_text(key, encoding="utf-8")
    return True


def is_whole(venv: Path) -> bool:
    """True if no package is half unpacked: pip writes a package's RECORD last."""
    return all((info / "RECORD").is_file() for info in venv.glob("lib/**/*.dist-info"))


def run_pip(arguments: Sequence[str]) -> int:
    """Install into the running Python's environment."""
    say(
        "Installing the packages into .venv; the first time this takes minutes and, with a CUDA"
        " build of torch, several GB."
    )
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    return subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL, check=False).returncode


def can_load(library: Library) -> bool:
    """True if the system's loader finds the library."""
    try:
        ctypes.CDLL(library.file)
    except OSError:
        return False
    return True


def has_font(folders: Iterable[Path]) -> bool:
    """True if there is any scalable font; without one every text is a row of boxes."""
    kinds = {".ttf", ".ttc", ".otf", ".pfb"}
    return any(file.suffix.lower() in kinds for folder in folders for file in folder.rglob("*.*"))


def font_folders() -> list[Path]:
    """Where fontconfig looks for fonts."""
    home = Path.home()
    own = [home / ".fonts", home / ".local/share/fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), *own]


def packages_for(missing: Iterable[Library], known: Callable[[str], bool]) -> list[str]:
    """The Debian packages to install, each once; the first name that apt knows, else the last."""
    chosen = (
        next((name for name in library.packages if known(name)), library.packages[-1])
        for library in missing
    )
    return list(dict.fromkeys(chosen))


def known_to_apt(package: str) -> bool:
    """True if apt's lists hold a package of this very name."""
    result = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    return result.returncode == 0


def apt_install(packages: Callable[[], Sequence[str]]) -> bool:
    """Refresh apt's lists and install; the names are asked for when the lists are fresh."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages()]
    say("Installing " + " ".join(command[5:]) + " by apt-get.")
    return subprocess.run(command, env=quiet, check=False).returncode == 0


def check_system(*, window: bool, may_install: bool, has_apt: bool) -> None:
    """See that the system's libraries are there; install them or say which are missing.

    Raises:
        SetupError: something needed is missing and could not be installed.
    """

    def find_missing() -> list[Library]:
        absent = [library for library in LIBRARIES if not can_load(library)]
        return absent if has_font(font_folders()) else [*absent, FONT]

    missing = find_missing()
    if missing and may_install:
        apt_install(lambda: packages_for(missing, known_to_apt))
        missing = find_missing()
    if not missing:
        return
    files = ", ".join(library.file for library in missing)
    if has_apt:
        cure = "sudo apt-get install " + " ".join(packages_for(missing, known_to_apt))
    else:
        cure = "the packages of your distribution that hold them"
    text = f"The system lacks {files}; install: {cure}"
    if window or any(not library.window for library in missing):
        raise SetupError(text)
    say(f"{text} (needed for the window only).")


def without_display(environment: Mapping[str, str], platform: str) -> bool:
    """True where Qt would abort because it has nothing to draw on and was told no other way."""
    ways = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return platform == "linux" and not any(environment.get(name) for name in ways)


def say(text: str) -> None:
    """Tell the person, ahead of what a command prints next."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Set up; 0 when done, 1 with a sentence when not, 130 when stopped."""
    parser = argparse.ArgumentParser(description="Fill .venv with what Descriptor Space needs.")
    parser.add_argument("--window", action="store_true", help="a window will be opened")
    parser.add_argument("--xvfb", action="store_true", help="install a virtual display for tests")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        say("Run this with a virtual environment's Python, or run .ci/setup.sh, which makes one.")
        return 1
    try:
        install(REPOSITORY, Path(sys.prefix), run_pip)
        if sys.platform == "linux":
            has_apt = shutil.which("apt-get") is not None
            may_install = has_apt and os.geteuid() == 0
            on_x = os.environ.get("QT_QPA_PLATFORM", "xcb") == "xcb" and os.environ.get("DISPLAY")
            check_system(
                window=arguments.window and bool(on_x), may_install=may_install, has_apt=has_apt
            )
            if arguments.xvfb and may_install and not shutil.which("Xvfb"):
                apt_install(lambda: ["xvfb"])
        if arguments.window and without_display(os.environ, sys.platform):
            raise SetupError(NO_DISPLAY)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
