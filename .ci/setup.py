"""Install what Descriptor Space needs into .venv; takes a fraction of a second if nothing changed.

Run by setup.sh, or by hand with a virtual environment's Python, on any system:

    python .ci/setup.py [--xvfb]

``--xvfb`` also installs a virtual display, if possible, for the tests that use one.  Needs only
the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from engine.jobs import qt_platform  # noqa: E402 - needs the line above, and no package

FONT = {"any font": "fonts-dejavu-core"}


class SetupError(Exception):
    """The set-up cannot continue; the text is shown to the user."""


def requirements(pyproject: Path) -> list[str]:
    """What running and testing a checkout needs: the dependencies and the extra ``dev``."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def stamp_key(*files: Path) -> str:
    """A text that changes with the files or with the running Python."""
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def install(repository: Path, venv: Path, pip: Callable[[Sequence[str]], int]) -> bool:
    """Update the packages in ``venv``, unless its stamp says that they are up to date.

    Args:
        repository: the checkout.
        venv: the virtual environment.
        pip: runs ``pip install`` with arguments and returns its exit status.

    Returns:
        True if pip had to run.

    Raises:
        SetupError: pip failed; the next call tries again, and recreates ``venv`` if a package is
            half unpacked or pip was killed.
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
        raise SetupError("The packages could not be installed; see pip's messages above.")
    stamp.write_text(key, encoding="utf-8")
    return True


def is_whole(venv: Path) -> bool:
    """True if no package is half unpacked: pip writes a package's RECORD last."""
    return all((info / "RECORD").is_file() for info in venv.glob("lib/**/*.dist-info"))


def run_pip(arguments: Sequence[str]) -> int:
    """Install into the running Python's environment."""
    say(
        "Installing the packages into .venv; the first time this takes minutes, and several GB"
        " with a CUDA build of torch."
    )
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    return subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL, check=False).returncode


def has_font(folders: Iterable[Path]) -> bool:
    """True if there is any scalable font; without a font every text is a row of boxes."""
    kinds = {".ttf", ".ttc", ".otf", ".pfb"}
    return any(file.suffix.lower() in kinds for folder in folders for file in folder.rglob("*.*"))


def font_folders() -> list[Path]:
    """Where fontconfig looks for fonts."""
    home = Path.home()
    own = [home / ".fonts", home / ".local/share/fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), *own]


def apt_install(packages: Iterable[str]) -> None:
    """Refresh apt's lists and install; callers check the result themselves."""
    names = sorted(set(packages))
    say(f"Installing {' '.join(names)} with apt-get.")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    subprocess.run([*install, *names], env=quiet, check=False)


def find_missing(*, xcb: bool) -> dict[str, str]:
    """What the system lacks, with the Debian package that provides it."""
    missing = qt_platform.missing_libraries(xcb=xcb)
    return missing if has_font(font_folders()) else {**missing, **FONT}


def check_system(*, may_install: bool) -> None:
    """Check the system libraries; install what is missing, or say what it is.

    Args:
        may_install: apt-get is available, with the rights to install.

    Raises:
        SetupError: something needed is missing and could not be installed.
    """
    missing = find_missing(xcb=True)
    if missing and may_install:
        apt_install(missing.values())
        missing = find_missing(xcb=True)
    needed = find_missing(xcb=False)
    if needed:
        raise SetupError(
            f"The system lacks {', '.join(needed)}; on Debian and Ubuntu, this installs what is"
            f" missing: {qt_platform.install_hint(missing)}"
        )
    if missing:
        say(f"To open the window as well, install: {qt_platform.install_hint(missing)}")


def say(text: str) -> None:
    """Show a message before the output of the next command."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Set up; return 0 on success, 1 with a message on failure, 130 when stopped."""
    parser = argparse.ArgumentParser(description="Install what Descriptor Space needs into .venv.")
    parser.add_argument("--xvfb", action="store_true", help="install a virtual display for tests")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        say("Run this with a virtual environment's Python, or run .ci/setup.sh, which creates one.")
        return 1
    try:
        install(REPOSITORY, Path(sys.prefix), run_pip)
        if sys.platform == "linux":
            may_install = shutil.which("apt-get") is not None and os.geteuid() == 0
            check_system(may_install=may_install)
            if arguments.xvfb and may_install and not shutil.which("Xvfb"):
                apt_install(["xvfb"])
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
