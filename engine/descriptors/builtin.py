"""The visible list of built-in descriptors: importing a module registers what it holds."""

from engine.descriptors import daisy, descspace, msnet, msnet_pair, precomputed, superpoint
from engine.descriptors.families import (
    exported_files,
    kornia_models,
    onnx_files,
    timm_models,
    transformers_models,
)

__all__ = [
    "daisy",
    "descspace",
    "exported_files",
    "kornia_models",
    "msnet",
    "msnet_pair",
    "onnx_files",
    "precomputed",
    "superpoint",
    "timm_models",
    "transformers_models",
]
