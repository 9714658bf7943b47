"""The optional packages: which extra brings them, and how to install it."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.paths import data_dir

# As in pyproject.toml, which an installed package lacks.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "cuda": ("pycuda",),
    "formats": ("pillow-heif", "pillow-jxl-plugin"),
    "hdf5": ("h5py",),
    "kornia": ("kornia",),
    "onnx": ("onnxruntime",),
    "poselib": ("poselib",),
    "timm": ("timm", "torchvision", "huggingface_hub"),
    "transformers": ("transformers", "huggingface_hub"),
}


def install_command(extra: str) -> str:
    """The command line that installs an extra for the running Python and leaves torch as it is.

    Args:
        extra: one of ``EXTRAS``.
    """
    checkout, environment = data_dir("resources").parent, Path(sys.prefix)
    constraints = checkout / "constraints.txt"
    if not constraints.is_file():  # an installed package
        # A newer torchvision would bring a newer torch along.
        torch = importlib.metadata.version("torch").partition("+")[0]
        return f'{sys.executable} -m pip install "descriptor-space[{extra}]" torch=={torch}'
    in_venv = environment.name == ".venv" and environment.parent.resolve() == checkout
    if in_venv and sys.platform != "win32":
        return f"make setup EXTRAS={extra}"
    return (
        f'{sys.executable} -m pip install --constraint "{constraints}" '
        f'--editable "{checkout}[{extra}]"'
    )
