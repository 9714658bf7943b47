"""What the window needs from this computer, checked without loading Qt.

Qt ends the process when it finds no display or lacks a library, so both are checked beforehand.
Only the standard library is used: this also runs before anything is installed, as
``python -m engine.jobs.qt_platform``, which prints the missing Debian packages, one a line.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

# Shared library -> Debian and Ubuntu package.  Those that Qt loads whatever the platform is ...
_QT_LIBRARIES = {
    "libglib-2.0.so.0": "libglib2.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
}
# ... and those of its X11 platform only.
_XCB_LIBRARIES = {
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
# A server whose last client leaves resets itself and refuses a client that comes at that moment, as
# Qt would right after this check; so the connection is kept until the process ends.
_kept_connections: dict[str, int] = {}

_NO_DISPLAY_NEEDED = ("offscreen", "minimal", "vnc", "linuxfb", "eglfs")


def missing_libraries(*, xcb: bool = True) -> dict[str, str]:
    """The shared libraries that Qt needs and this system lacks.

    Args:
        xcb: also those of the X11 platform.

    Returns:
        Library -> Debian package that holds it; always empty elsewhere than on Linux, where the
        wheels bring all they need.
    """
    if not sys.platform.startswith("linux"):
        return {}
    wanted = {**_QT_LIBRARIES, **(_XCB_LIBRARIES if xcb else {})}
    return {name: package for name, package in wanted.items() if not _loads(name)}


def install_hint(missing: Mapping[str, str]) -> str:
    """The command that installs the packages of :func:`missing_libraries` on Debian and Ubuntu."""
    return "sudo apt-get install -y " + " ".join(sorted(set(missing.values())))


def platform_name(environment: Mapping[str, str] = os.environ) -> str:
    """The platform named by ``QT_QPA_PLATFORM``, without its options; "" when Qt may choose."""
    # "wayland;xcb" is a list of choices and "offscreen:enable_fonts" has options.
    return environment.get("QT_QPA_PLATFORM", "").split(";")[0].split(":")[0].strip().lower()


def display_problem(environment: Mapping[str, str] = os.environ) -> str:
    """Why no window can be shown here, without a full stop; "" if one can."""
    chosen = platform_name(environment)
    if not sys.platform.startswith("linux") or chosen in _NO_DISPLAY_NEEDED:
        return ""
    if environment.get("WAYLAND_DISPLAY") and chosen in ("", "wayland", "wayland-egl"):
        return ""
    display = environment.get("DISPLAY", "")
    if not display:
        return "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    if not _x_server_answers(display):
        return f"the display {display!r} does not answer"
    return ""


def window_problem(environment: Mapping[str, str] = os.environ) -> str:
    """The first reason why Qt would end the process here, with its fix; "" if there is none."""
    missing = missing_libraries(xcb=False)
    problem = "" if missing else display_problem(environment)
    if not problem and not missing and _uses_xcb(environment):
        missing = missing_libraries()
    if missing:
        return (
            f"the window needs system libraries that are missing ({', '.join(sorted(missing))}); "
            f"install them with: {install_hint(missing)}"
        )
    return problem


def _uses_xcb(environment: Mapping[str, str]) -> bool:
    chosen = platform_name(environment)
    wayland = bool(environment.get("WAYLAND_DISPLAY"))
    return chosen == "xcb" or (chosen == "" and not wayland)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _x_server_answers(display: str) -> bool:
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True  # cannot be tried; the missing library is reported on its own
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connect.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    xcb.xcb_connection_has_error.argtypes = [ctypes.c_void_p]
    xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    if display in _kept_connections:
        return int(xcb.xcb_connection_has_error(_kept_connections[display])) == 0
    connection = xcb.xcb_connect(display.encode(), None)
    if xcb.xcb_connection_has_error(connection):
        xcb.xcb_disconnect(connection)
        return False
    _kept_connections[display] = connection
    return True


if __name__ == "__main__":
    sys.stdout.writelines(f"{package}\n" for package in sorted({*missing_libraries().values()}))
