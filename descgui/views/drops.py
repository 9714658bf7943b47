"""What a drop on the panes would do, decided before it happens and without Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from engine import api
from engine.api import Side

_FURTHER_SUFFIXES: Final = frozenset({".flo", ".h5", ".hdf5", ".db"})

DropKind = Literal["image", "pair", "folder", "session", "video", "truth", "refused"]


@dataclass(frozen=True, slots=True)
class DropPlan:
    """What a drop would do.

    Attributes:
        kind: one image, two images, one folder, a session, a video, the open pair's truth, or
            nothing that can be opened.
        side: the pane that one image goes to; "" where that does not matter.
    """

    kind: DropKind
    side: Side | Literal[""] = ""


def plan_drop(paths: Sequence[Path], side: Side | Literal[""]) -> DropPlan:
    """Decide what dropping ``paths`` on a pane ("" outside all panes) would do."""
    folders = [path for path in paths if path.is_dir()]
    images = [path for path in paths if path.suffix.lower() in api.IMAGE_SUFFIXES]
    match len(paths), len(folders), len(images) - len(set(images) & set(folders)):
        case 1, 1, _:
            return DropPlan("folder")
        case 1, 0, 1:
            return DropPlan("image", side)
        case 2, 0, 2:
            return DropPlan("pair")
        case 1, 0, 0 if paths[0].suffix == api.SESSION_SUFFIX:
            return DropPlan("session")
        case 1 | 2, 0, _ if api.is_video(paths[-1]) and not any(map(api.is_video, paths[:-1])):
            return DropPlan("video")
        case 1, 0, 0 if paths[0].suffix.lower() in api.MATRIX_SUFFIXES | _FURTHER_SUFFIXES:
            return DropPlan("truth")
    return DropPlan("refused")
