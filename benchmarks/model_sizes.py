"""How large timm's models are: ``python -m benchmarks.model_sizes`` writes them to a table.

Every architecture is built without a classifier on the meta device, where weights take no memory.
Models that the table has already are not built again.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from engine.descriptors.known_models import ModelSize, read_sizes, sizes_text, timm_sizes_file


def main() -> None:
    """Add what is missing to the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--file", type=Path, default=timm_sizes_file())
    file = parser.parse_args().file
    import torch

    from engine.descriptors.families.timm_models import import_timm

    warnings.simplefilter("ignore")
    timm: Any = import_timm()
    sizes = dict(read_sizes(file))
    for number, model in enumerate(timm.list_models()):
        if model not in sizes:
            with torch.device("meta"):
                sizes[model] = size_of(timm.create_model(model, num_classes=0))
        if number % 50 == 0:
            file.write_text(sizes_text(sizes), encoding="utf-8")
    file.write_text(sizes_text(sizes), encoding="utf-8")


def size_of(net: Any) -> ModelSize:
    """Weights, and the distance of the last layer's cells as timm tells it."""
    layers = getattr(net, "feature_info", None) or ()
    last = layers[-1] if layers else {}
    return ModelSize(
        parameters=sum(one.numel() for one in net.parameters()),
        stride_px=float(last["reduction"]) if "reduction" in last else None,
    )


if __name__ == "__main__":
    main()
