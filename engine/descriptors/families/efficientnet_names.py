"""The names that the package efficientnet_pytorch gives to the tensors of an EfficientNet.

L. Melas-Kyriazi's implementation, and those that follow it, number the blocks through and call the
parts of each ``_expand_conv``, ``_depthwise_conv`` and so on; timm numbers them by stages.  The
networks are the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeVar

_Value = TypeVar("_Value")

_BLOCK: Final = re.compile(r"_blocks\.(\d+)\.(.+)\.(\w+)")
_OUTER: Final = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_PARTS: Final = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The first blocks have no expansion, so timm counts their parts from another start.
_PARTS_UNEXPANDED: Final = {
    **_PARTS,
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def of_efficientnet_pytorch(names: Collection[str]) -> bool:
    """Whether names of tensors are those of this package."""
    return "_conv_stem.weight" in names


def timm_names(state: Mapping[str, _Value], wanted: Iterable[str]) -> dict[str, _Value]:
    """Give the tensors of an EfficientNet the names that timm uses.

    Args:
        state: tensors by the package's names.
        wanted: the names of the network in timm.

    Returns:
        The tensors under timm's names; as they were, if the network has fewer blocks.
    """
    blocks = sorted(
        {
            (int(name.split(".")[1]), int(name.split(".")[2]))
            for name in wanted
            if re.match(r"blocks\.\d+\.\d+\.", name)
        }
    )
    expanded = {found[1] for name in state if (found := re.match(r"_blocks\.(\d+)\._exp", name))}
    renamed = {}
    for name, value in state.items():
        found = _BLOCK.fullmatch(name)
        if found is None:
            part, _, last = name.rpartition(".")
            renamed[f"{_OUTER.get(part, part)}.{last}"] = value
            continue
        number, part, last = found.groups()
        if int(number) >= len(blocks):
            return dict(state)
        stage, block = blocks[int(number)]
        parts = _PARTS if number in expanded else _PARTS_UNEXPANDED
        renamed[f"blocks.{stage}.{block}.{parts.get(part, part)}.{last}"] = value
    return renamed
