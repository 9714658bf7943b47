"""Images as they were read from their files, for everyone who asks again.

A window shows the same images that its session describes, and whoever walks through the pairs of a
sequence comes back to image A with each of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.byte_cache import ByteCache
from engine.paths import FileStamp

if TYPE_CHECKING:
    from engine.imagefiles.value_range import ValueRange
    from engine.images import Image

_BUDGET_BYTES = 256 << 20
_IN_USE = 2  # those of a pair stay, however large


class ImageStore:
    """Reads images and keeps the latest; safe to use from several threads.

    Args:
        budget_bytes: memory for images; a pair stays even where it needs more.
    """

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._images: ByteCache[FileStamp, Image] = ByteCache(budget_bytes, keep_at_least=_IN_USE)

    def read(self, path: Path, *, shown: ValueRange | None = None) -> Image:
        """An image, from its file unless that is as it was when it was last read.

        Args:
            path: the file; a JPEG that lacks its end is read as far as it goes.
            shown: which of its values are black and white; None for the file's own range.

        Raises:
            ImageError: the file cannot be read.
        """
        from engine.images import read_image  # not before a window's first painting

        stamp = FileStamp.of(path)
        image = self._images.get(stamp)
        if image is None:
            image = read_image(path, allow_cut=True)
            self._images.put(stamp, image, image.size_bytes)
        return image.in_range(shown)

    def forget(self, path: Path) -> None:
        """Read a file anew when it is asked for next."""
        gone = FileStamp.of(path).path
        self._images.drop(lambda stamp: stamp.path == gone)
