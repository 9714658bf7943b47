"""The errors a user can act on.

Every error below is one whole sentence that names the thing and the reason, and is shown as it is::

    DescSpaceError
    ├── ConfigError          a setting has a wrong name or value
    ├── ImageError           a picture cannot be read or written
    ├── DatasetError         a folder of sequences or photos is not what was expected
    ├── DownloadError        something cannot be loaded from the network, or is not what it was
    ├── HomographyError      a homography cannot be read, is singular, or cannot be estimated
    ├── TruthError           ground truth of another kind cannot be read, or does not fit its images
    ├── WeightsError         a weights file is missing, truncated or of another architecture
    ├── MapFileError         a file of precomputed descriptor maps cannot be used
    ├── BasisFileError       a file with a PCA basis cannot be used
    ├── ResultError          the results of an earlier run cannot be read or continued
    ├── SessionError         a session file cannot be read
    ├── PluginError          a plugin file failed to load
    ├── DeviceError          the chosen device does not exist or ran out of memory
    ├── KernelUnavailable    the CUDA path was demanded and cannot run
    ├── MapsMissingError     maps were asked about that are not, or no longer, in memory
    ├── MapsMismatchError    the maps of two images cannot be compared with each other
    └── OutputError          a result cannot be written

Anything else that is raised is a bug and is reported with its trace.  :class:`JobCancelled` is not
an error: it unwinds a job that the user stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

_QUOTED_CHARACTERS, _REASON_CHARACTERS = 200, 1000


def quoted(value: object) -> str:
    """A value from outside as a message shows it: on one line, in quotes if text, not too long."""
    text = repr(value)
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"


def printable(text: object, keep: str = "") -> str:
    """A text without control characters, which a terminal would obey; they are shown as escapes.

    Args:
        text: anything.
        keep: control characters that may stay.
    """
    found = str(text)
    if found.isprintable():
        return found
    return "".join(one if one.isprintable() or one in keep else repr(one)[1:-1] for one in found)


def _one_line(text: str, most_characters: int) -> str:
    """A part of a message that may quote a file's content or a foreign parser: one line, bounded.

    What follows the cut would bury the sentence: a parser may repeat all that it could not read.
    """
    line = printable(text)
    return line if len(line) <= most_characters else f"{line[:most_characters]}…"


class DescSpaceError(Exception):
    """Base of all errors whose text is meant for the user."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text, keep="\n"))


class ConfigError(DescSpaceError):
    """A setting has a wrong name or value.

    Args:
        field: dotted name of the setting, as in the file (``descriptor.stride_px``).
        reason: what is wrong and what would be right, without a full stop; it may end in a
            question ("did you mean …?").
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field = _one_line(field, _REASON_CHARACTERS)
        self.reason = _one_line(reason, _REASON_CHARACTERS)
        end = "" if self.reason.endswith("?") else "."
        super().__init__(f"{self.field}: {self.reason}{end}")


class FileError(DescSpaceError):
    """Base of the errors about one file or folder; the text starts with its path.

    Args:
        path: the file or folder.
        reason: what is wrong with it, without a full stop.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = _one_line(reason, _REASON_CHARACTERS)
        super().__init__(f"{printable(path)}: {self.reason}.")


@contextlib.contextmanager
def file_errors(
    kind: Callable[[Path, str], DescSpaceError], path: Path, failure: str, *, missing: str = ""
) -> Iterator[None]:
    """Turn what the system raises inside the block into an error about a file or folder.

    Args:
        kind: makes the error.
        path: the file or folder.
        failure: what could not be done, such as ``cannot be read``.
        missing: the reason where the file does not exist, "" for the system's.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise kind(path, missing or f"{failure} ({error.strerror})") from error
    except IsADirectoryError as error:
        raise kind(path, "is a folder, not a file") from error
    except OSError as error:
        raise kind(path, f"{failure} ({error.strerror or error})") from error
    except ValueError as error:
        if "\0" not in str(path):
            raise
        raise kind(path, "is not the name of a file") from error


class ImageError(FileError):
    """A picture cannot be read or written."""


class DatasetError(FileError):
    """A folder of sequences or photos is not what was expected."""


class DownloadError(DescSpaceError):
    """Something cannot be loaded from the network, or is not what it was the first time.

    Args:
        url: its address.
        reason: what is wrong, without a full stop.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.reason = _one_line(reason, _REASON_CHARACTERS)
        super().__init__(f"{printable(url)}: {self.reason}.")


class HomographyError(FileError):
    """A homography cannot be read, is singular, or cannot be estimated."""


class TruthError(FileError):
    """Ground truth that is no homography cannot be read, or does not fit its images."""


class WeightsError(FileError):
    """A weights file is missing, truncated or of another architecture."""


class MapFileError(FileError):
    """A file of precomputed descriptor maps cannot be used."""


class BasisFileError(FileError):
    """A file with a PCA basis cannot be used."""


class ResultError(FileError):
    """The results of an earlier run cannot be read or continued."""


class SessionError(FileError):
    """A session file cannot be read, or names what is not there."""


class PluginError(FileError):
    """A plugin file failed to load."""


class OutputError(FileError):
    """A result cannot be written."""


class DeviceError(DescSpaceError):
    """The chosen device does not exist or ran out of memory."""


class KernelUnavailable(DescSpaceError):  # noqa: N818 - a state of the machine, not a fault
    """The CUDA path was demanded and cannot run."""


class MapsMissingError(DescSpaceError):
    """Maps were asked about that are not, or no longer, in memory: describe the image again."""


class MapsMismatchError(DescSpaceError):
    """The maps of two images cannot be compared with each other."""


class JobCancelled(BaseException):
    """Unwinds a job after :meth:`engine.progress.CancelToken.cancel`.

    It is no error: whoever handles those of a stranger's code must let it pass.
    """
