"""Write the demo sequences where a person wants them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.progress import JobContext

if TYPE_CHECKING:
    from engine.data.hpatches import Dataset


@dataclass(frozen=True, slots=True)
class DemoJob:
    """Make the demo sequences in a folder, in the layout of HPatches."""

    folder: Path

    def run(self, context: JobContext) -> Dataset:
        """Write them.

        Raises:
            OutputError: the folder cannot be written.
            JobCancelled: it was stopped.
        """
        from engine.data.demo import write_demo
        from engine.data.hpatches import open_dataset

        write_demo(self.folder, context)
        return open_dataset(self.folder)
