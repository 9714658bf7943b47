"""Install what Descriptor Space needs into .venv; takes a fraction of a second if nothing changed.

Run by setup.sh, or by hand with a virtual environment's Python, on any system:

    python .ci/setup.py [--extras timm,onnx] [--xvfb]

``--extras`` also installs these extras of pyproject.toml, ``dev`` among them; later calls keep them
up to date without being told again.  ``--xvfb`` also installs a virtual display, if possible, for
the tests that use one.  Needs only the standard library.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from engine.jobs import qt_platform  # noqa: E402 - needs the line above, and no package

FONT = {"any font": "fonts-dejavu-core"}


class SetupError(Exception):
    """The set-up cannot continue; the text is shown to the user."""


def read_project(pyproject: Path) -> dict[str, Any]:
    """The table ``project`` of a pyproject.toml."""
    project: dict[str, Any] = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return project


def requirements(project: dict[str, Any], extras: Iterable[str]) -> list[str]:
    """What running a checkout needs, and what these extras add; each requirement once.

    Args:
        project: the table ``project``; an extra may name others, as ``NAME[extra,…]``.
        extras: all of them known.
    """
    own_extras = re.compile(rf"{re.escape(project['name'])}\[(.*)\]")
    found = list(project["dependencies"])
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            others = own_extras.fullmatch(requirement)
            found += requirements(project, names_in(others[1])) if others else [requirement]
    return list(dict.fromkeys(found))


def names_in(text: str) -> list[str]:
    """The names in a list that is separated by commas or spaces."""
    return re.findall(r"[^\s,]+", text)


def check_extras(asked: Iterable[str], known: Iterable[str]) -> None:
    """Refuse an extra that pyproject.toml lacks.

    Raises:
        SetupError: names the first of them and all that are known.
    """
    known = sorted(known)
    for extra in asked:
        if extra not in known:
            near = difflib.get_close_matches(extra, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise SetupError(f"There is no extra {extra!r}{hint}: choose from {', '.join(known)}.")


def stamp_key(*files: Path, extras: Iterable[str]) -> str:
    """A text that changes with the files, with the extras or with the running Python."""
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(file.read_bytes())
    digest.update(" ".join(extras).encode())
    return digest.hexdigest()


def install(
    repository: Path, venv: Path, pip: Callable[[Sequence[str]], int], *, extras: Iterable[str]
) -> bool:
    """Update the packages in ``venv``, unless its stamp says that they are up to date.

    Args:
        repository: the checkout.
        venv: the virtual environment; its file ``extras`` names what earlier calls installed.
        pip: runs ``pip install`` with arguments and returns its exit status.
        extras: to install besides those of earlier calls.

    Returns:
        True if pip had to run.

    Raises:
        SetupError: there is no such extra, and nothing has changed; or pip failed, and the next
            call tries again, and recreates ``venv`` if a package is half unpacked or pip was
            killed.
    """
    stamp, unfinished, remembered = venv / "stamp", venv / "unfinished", venv / "extras"
    pyproject, constraints = repository / "pyproject.toml", repository / "constraints.txt"
    project = read_project(pyproject)
    known, asked = project["optional-dependencies"], set(extras)
    check_extras(sorted(asked), known)
    earlier = names_in(remembered.read_text(encoding="utf-8")) if remembered.is_file() else []
    # The project may have dropped an extra since.
    wanted = sorted(asked | (set(earlier) & set(known)))
    key = stamp_key(pyproject, constraints, extras=wanted)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        return False
    stamp.unlink(missing_ok=True)
    unfinished.touch()
    status = pip(["--constraint", str(constraints), *requirements(project, wanted)])
    if status == 0 or (status > 0 and is_whole(venv)):
        unfinished.unlink()
    if status:
        raise SetupError("The packages could not be installed; see pip's messages above.")
    remembered.write_text("".join(f"{extra}\n" for extra in wanted), encoding="utf-8")
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
    if os.environ.get("CI"):
        command.append("--no-compile")  # a checkout that is used once imports a small part of it
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
    parser.add_argument("--extras", default="", help="extras to install too, such as timm,onnx")
    parser.add_argument("--xvfb", action="store_true", help="install a virtual display for tests")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        say("Run this with a virtual environment's Python, or run .ci/setup.sh, which creates one.")
        return 1
    try:
        extras = names_in(arguments.extras)
        install(REPOSITORY, Path(sys.prefix), run_pip, extras=extras)
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
