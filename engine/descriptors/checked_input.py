"""What really reaches a network of the colours of an image.

Whoever wraps a network rewrites its preprocessing.  With mean and deviation swapped, or blue where
red should be, everything still works, a little worse.  So images of one colour are described, and
the first layer with weights is watched: from black and white follow the mean and the deviation of
every channel, from red, green and blue their order.

Whether that is right depends on how the network was trained, which nobody can see in it.  It is
compared with what the descriptor declares by ``expects``, and without that with the statistics in
common use: these are recognised when they are swapped or reversed, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from engine.descriptors.base import DenseDescriptor, ExpectedInput
from engine.descriptors.findings import Finding

_Three = tuple[float, float, float]

_KNOWN: Final[Mapping[str, tuple[_Three, _Three]]] = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CLIP's": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half and half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "as they are": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "0 to 255": ((0.0, 0.0, 0.0), (1 / 255,) * 3),
    "Caffe's": ((0.485, 0.458, 0.408), (1 / 255,) * 3),
}
_COLOURS: Final = ((0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1))
_NEAR: Final = 0.01
_UNIFORM: Final = 0.02


def check_input(
    descriptor: DenseDescriptor, networks: Sequence[nn.Module], size_px: tuple[int, int]
) -> Iterator[Finding]:
    """What reaches the first layer with weights, held against what it should be.

    Args:
        descriptor: the descriptor.
        networks: all that it holds.
        size_px: (width, height) that it describes.
    """
    declared = getattr(descriptor, "expects", None)
    shown = _shown(declared.mean, declared.std, declared.channels) if declared else ""
    if not networks:
        text = "it holds no torch network that could be watched"
        yield Finding("input", shown, "–", "unknown", text)
        return
    seen = _seen(descriptor, networks, size_px)
    channels = _channels(seen)
    if channels is None:
        text = "its first layer with weights does not read colours (but patches, or features)"
        yield Finding("input", shown, "–", "unknown", text)
        return
    height, width = channels.shape[2:]
    inner = channels[..., height // 4 : height - height // 4, width // 4 : width - width // 4]
    means, spreads = inner.mean(dim=(2, 3)), inner.flatten(2).std(dim=2, correction=0)
    black, white = means[0], means[1]
    contrast = white - black
    if float(contrast.abs().min()) < 1e-6:
        text = "black and white reach the network as the same, so nothing follows from them"
        yield Finding("input", shown, "–", "unknown", text)
        return
    if float((spreads / contrast.abs()).max()) > _UNIFORM:
        text = (
            "an image of one colour reaches the network in several: axes were mixed up, by a "
            "reshape or view where permute is needed"
        )
        yield Finding("input", shown, "mixed colours", "differs", text)
        return
    shares = ((means[2:] - black) / contrast).T  # (channel of the network, colour)
    std = (1 / contrast).tolist()
    mean = (-black / contrast).tolist()
    if len(mean) == 1:
        yield _grey(shares[0].tolist(), shown)
    else:
        yield _colours(tuple(mean), tuple(std), shares, declared, shown)


def _seen(
    descriptor: DenseDescriptor, networks: Sequence[nn.Module], size_px: tuple[int, int]
) -> Tensor | None:
    """The input of the first layer with weights for images of the five colours."""
    seen: list[Tensor] = []

    def watch(_layer: nn.Module, given: tuple[Any, ...]) -> None:
        if not seen and given and isinstance(given[0], Tensor):
            seen.append(given[0].detach().float().cpu())

    handles = [
        layer.register_forward_pre_hook(watch)
        for network in networks
        for layer in network.modules()
        if next(layer.parameters(recurse=False), None) is not None
    ]
    colours = torch.tensor(_COLOURS, dtype=torch.float32)[:, :, None, None]
    try:
        with torch.inference_mode():
            descriptor.describe(colours.expand(-1, -1, size_px[1], size_px[0]).contiguous())
    finally:
        for handle in handles:
            handle.remove()
    return seen[0] if seen else None


def _channels(seen: Tensor | None) -> Tensor | None:
    """``(5, 1 or 3, H, W)``; None where the layer saw something else."""
    if seen is None or seen.ndim != 4 or len(seen) != len(_COLOURS):
        return None
    if seen.shape[1] in (1, 3):
        return seen
    return seen.permute(0, 3, 1, 2) if seen.shape[3] in (1, 3) else None


def _grey(shares: list[float], declared: str) -> Finding:
    red, _, blue = shares
    shown = "grey, {:.3g} R + {:.3g} G + {:.3g} B".format(*shares)
    if blue > red + _NEAR:
        text = f"grey is made as if blue came first ({shown.removeprefix('grey, ')})"
        return Finding("input", declared, shown, "differs", text)
    return Finding("input", declared, shown)


def _colours(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    shares: Tensor,
    declared: ExpectedInput | None,
    shown_declared: str,
) -> Finding:
    order = _order(shares)
    shown = _shown(mean, std, order)
    known = _name(mean, std)
    measured = f"{shown} ({known})" if known else shown

    def differs(text: str) -> Finding:
        return Finding("input", shown_declared, measured, "differs", text)

    if declared is not None:
        if order != declared.channels:
            return differs(
                f"the network gets its channels as {order} instead of {declared.channels}"
            )
        if not _same((mean, std), (declared.mean, declared.std)):
            return differs(f"the network gets {shown} instead of {shown_declared}")
        return Finding("input", shown_declared, measured)
    swapped = _name(std, mean)
    if swapped not in (None, known):
        return differs(f"mean and deviation are swapped: they are {swapped}")
    back = _name(mean[::-1], std[::-1])
    if order == "BGR":
        text = "blue reaches the network first"
        if back and not known:
            text += f", with statistics that are {back} in that order"
        return differs(f"{text}; declare expects = ExpectedInput(…, 'BGR') if it was trained so")
    if back and not known:
        return differs(
            f"the statistics are {back} in the order blue, green, red; the channels are not"
        )
    if order == "mixed" or not known:
        text = "nothing says how the network was trained; declare it as ExpectedInput by expects"
        return Finding("input", shown_declared, measured, "unknown", text)
    return Finding("input", shown_declared, measured)


def _order(shares: Tensor) -> str:
    """``RGB``, ``BGR``, ``grey`` for three equal channels, or ``mixed``."""
    if torch.allclose(shares, torch.eye(3), atol=_UNIFORM):
        return "RGB"
    if torch.allclose(shares, torch.eye(3).flip(0), atol=_UNIFORM):
        return "BGR"
    return "grey" if torch.allclose(shares, shares[:1].expand(3, -1), atol=_UNIFORM) else "mixed"


def _name(mean: Sequence[float], std: Sequence[float]) -> str | None:
    """What known statistics these are."""
    for name, known in _KNOWN.items():
        if _same((mean, std), known):
            return name
    return None


def _same(
    one: tuple[Sequence[float], Sequence[float]], other: tuple[Sequence[float], Sequence[float]]
) -> bool:
    """Whether means are equal within a hundredth, and deviations within a fiftieth of them."""
    return all(abs(a - b) <= _NEAR for a, b in zip(one[0], other[0], strict=True)) and all(
        abs(a - b) <= 2 * _NEAR * abs(b) for a, b in zip(one[1], other[1], strict=True)
    )


def _shown(mean: Sequence[float], std: Sequence[float], order: str) -> str:
    means, stds = (" ".join(f"{round(one, 3) + 0.0:.3g}" for one in row) for row in (mean, std))
    return f"{order}, ({means}) / ({stds})"
