"""The names of tensors in weights files, and under which of them they fit a network.

The same network is saved under many names: parallel training and compilation put a word before
them, and so does every module that holds the network (``model.``, ``extractor.``,
``net.backbone.``).  Here such words are removed where that leaves no doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

# Put before names by DataParallel and DDP, torch.compile, FSDP, and activation checkpointing.
_WRAPPERS: Final = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
_COUNTERS: Final = frozenset({"n_averaged"})  # of torch.optim.swa_utils.AveragedModel
# Files from before PyTorch 0.4.1 lack it, and what a trained network computes does not need it.
_STEP_COUNT: Final = "num_batches_tracked"
_SHOWN_NAMES: Final = 3


@dataclass(frozen=True, slots=True)
class Fit:
    """How the tensors of a file fit a network.

    Attributes:
        tensors: the network's whole state, by its own names; complete if there are no problems.
        problems: why they do not fit, a phrase for each tensor.
        choice: what was chosen among several possibilities, as the rest of a sentence about the
            file; "" where there was nothing to choose.
    """

    tensors: dict[str, Tensor]
    problems: tuple[str, ...]
    choice: str = ""


def unwrap_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the words of wrappers that stand before all names."""
    tensors = {name: value for name, value in state.items() if name not in _COUNTERS}
    while True:
        words = {name.partition(".")[0] for name in tensors if "." in name}
        if len(words) != 1 or not words <= _WRAPPERS or not all("." in name for name in tensors):
            return tensors
        tensors = {name.partition(".")[2]: value for name, value in tensors.items()}


def fit_names(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], ignored: Sequence[str]
) -> Fit:
    """Find the prefix under which the tensors of a file are those of a network.

    Args:
        state: the file's tensors by name.
        wanted: the network's.
        ignored: tensors whose names, behind the prefix, begin so are left out.

    Returns:
        The fit, or the best attempt with its problems.
    """
    own_names = _by_plain_name(wanted)
    given = {plain: state[name] for plain, name in _by_plain_name(state).items()}
    needed = {plain: wanted[name] for plain, name in own_names.items()}
    attempts = {
        prefix: _attempt(given, needed, prefix, tuple(ignored))
        for prefix in _prefixes(given, needed)
    }
    fitting = [prefix for prefix, (_, problems, _) in attempts.items() if not problems]
    prefix = fitting[0] if fitting else next(iter(attempts))
    tensors, problems, beside = attempts[prefix]
    choice = ""
    if len(fitting) > 1:
        choice = f"holds weights that fit under {' and '.join(fitting)}; {prefix} is used"
    elif fitting and beside:
        listed = ", ".join(beside[:_SHOWN_NAMES]) + (", …" if len(beside) > _SHOWN_NAMES else "")
        choice = f"the tensors under {prefix} are used and others left out ({listed})"
    elif not fitting:
        problems += tuple(f"{name} is unknown" for name in beside)
    whole = {own: tensors[plain] for plain, own in own_names.items() if plain in tensors}
    return Fit(whole, problems, choice)


def _by_plain_name(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names by what is left of them without wrappers; by themselves where two would be the same."""
    plain = {".".join(w for w in name.split(".") if w not in _WRAPPERS): name for name in tensors}
    return plain if len(plain) == len(tensors) else {name: name for name in tensors}


def _prefixes(given: Mapping[str, Tensor], needed: Mapping[str, Tensor]) -> list[str]:
    """The prefixes under which there are names of the network, with most of them first."""
    counts: Counter[str] = Counter()
    for name in given:
        words = name.split(".")
        for first in range(len(words)):
            if ".".join(words[first:]) in needed:
                counts["".join(f"{word}." for word in words[:first])] += 1
    if not counts or all(name in given for name in needed):
        return [""]
    # Among equals those come first that come first in the file, and none at all before any.
    return sorted(counts, key=lambda prefix: (-counts[prefix], prefix != ""))


def _attempt(
    given: Mapping[str, Tensor],
    needed: Mapping[str, Tensor],
    prefix: str,
    ignored: tuple[str, ...],
) -> tuple[dict[str, Tensor], tuple[str, ...], list[str]]:
    """The network's tensors under a prefix, what is wrong with them, and the names beside them."""
    under = {
        name.removeprefix(prefix): tensor
        for name, tensor in given.items()
        if name.startswith(prefix)
    }
    under = {name: tensor for name, tensor in under.items() if not name.startswith(ignored)}
    for name, tensor in needed.items():
        if name not in under and name.rpartition(".")[2] == _STEP_COUNT:
            under[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
    problems = [_misfit(name, under[name], needed[name]) for name in needed if name in under]
    problems += [f"{name} is missing" for name in needed if name not in under]
    problems += [f"{name} is unknown" for name in under if name not in needed]
    beside = [name for name in given if not name.startswith(prefix)]
    return under, tuple(filter(None, problems)), beside


def _misfit(name: str, given: Tensor, wanted: Tensor) -> str:
    if given.shape != wanted.shape:
        return f"{name} has shape {_shape(given)} instead of {_shape(wanted)}"
    if wanted.is_floating_point() and not given.is_floating_point():
        # Quantised weights: without their scales they are other numbers.
        return f"{name} holds {str(given.dtype).removeprefix('torch.')} instead of real numbers"
    return ""


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
