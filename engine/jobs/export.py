"""Export the weights of a run to one file that describes itself.  Loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from engine.checkpoints import load_state, save_safetensors
from engine.errors import WeightsError
from engine.jobs.output import check_output
from engine.progress import JobContext, Note, Saved
from engine.training.run_folder import RunFolder

Which = Literal["best", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """Copy the weights of a run, with its settings and figures in the file's header.

    Attributes:
        source: the run's folder, or one of its weights files.
        out: the ``.safetensors`` file to write.
        which: of a folder: the weights that validated best, or the last ones.
        half: keep matrices and kernels in half precision; everything else stays as it is.
    """

    source: Path
    out: Path
    which: Which = "best"
    half: bool = False

    def run(self, context: JobContext) -> dict[str, str]:
        """Write the file.

        Returns:
            The header, text by name.

        Raises:
            WeightsError: there are no such weights, or they are damaged.
            OutputError: the file cannot be written.
        """
        source = self._find()
        if self.source.is_dir() and source.stem != self.which:
            text = f"{self.source} holds no {self.which} weights; its {source.stem} ones are taken."
            context.emit(Note(text, "warning"))
        check_output(self.out, suffixes=(".safetensors",), inputs=(source,))
        weights, metadata = load_state(source)
        if self.half:
            weights = {name: _halved(name, value, source) for name, value in weights.items()}
            metadata["precision"] = "float16"
        save_safetensors(self.out, weights, metadata)
        context.emit(Saved(self.out, "weights"))
        return metadata

    def _find(self) -> Path:
        if not self.source.is_dir():
            return self.source
        folder = RunFolder(self.source)
        for name in dict.fromkeys((self.which, "best", "last")):
            path = folder.weights_file(name)
            if path.exists():
                return path
        raise WeightsError(
            self.source, "holds no weights yet; they come with the first checkpoint of a run"
        )


def _halved(name: str, value: Tensor, source: Path) -> Tensor:
    """Half precision for what has many numbers: statistics and shifts would lose by it."""
    if value.ndim < 2 or not value.is_floating_point():
        return value
    halved = value.half()
    if not bool(halved.isfinite().all()):
        raise WeightsError(source, f"holds numbers in {name} that are too large for half precision")
    return halved
