"""Whether the weights in a network are those of the file that is named.

``load_state_dict(..., strict=False)`` loads what fits and keeps silent about the rest; names that
differ by a prefix load nothing at all, and the network stays random.  A path may be left in the
code from an earlier experiment.  So the tensors in the network are looked up in the file, by their
contents: names may be changed on the way, numbers may not.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from engine.checkpoints import load_state
from engine.descriptors.base import DenseDescriptor
from engine.descriptors.findings import Finding
from engine.descriptors.held_state import as_array, networks_of, state_sha256
from engine.descriptors.registry import DescriptorSpec
from engine.errors import WeightsError
from engine.vocabulary import some_of


@dataclass(frozen=True, slots=True, eq=False)
class Loading:
    """One call of ``load_state_dict``; the lists are filled while it runs.

    Attributes:
        missing: what the network has and the file lacked.
        unexpected: what the file has and the network lacks.
    """

    missing: list[str]
    unexpected: list[str]


@contextlib.contextmanager
def watching_loads() -> Iterator[list[Loading]]:
    """Gives the loadings of weights in this thread inside the block, by networks made in it."""
    thread = threading.get_ident()
    found: list[Loading] = []
    handles: list[Any] = []
    watched: set[int] = set()

    def loaded(_module: nn.Module, keys: Any) -> None:
        if not any(one.missing is keys.missing_keys for one in found):
            found.append(Loading(keys.missing_keys, keys.unexpected_keys))

    def made(module: nn.Module, _name: str, part: nn.Module | None) -> None:
        if threading.get_ident() == thread:
            for one in (module, part):
                if one is not None and id(one) not in watched:
                    watched.add(id(one))
                    handle = one.register_load_state_dict_post_hook(loaded)  # type: ignore[no-untyped-call]
                    handles.append(handle)

    handles.append(register_module_module_registration_hook(made))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def check_weights(
    spec: DescriptorSpec,
    descriptor: DenseDescriptor,
    loads: Sequence[Loading],
    built_again: str | None,
) -> Iterator[Finding]:
    """Compare the network's tensors with the files that are named, and look at how they came.

    Args:
        spec: names files in its settings.
        descriptor: as it was built.
        loads: what was loaded meanwhile.
        built_again: the state of a second one, None where there is none.
    """
    networks = networks_of(descriptor)
    weights = [one for network in networks for one in network.named_parameters()]
    state = state_sha256(descriptor)
    shown = f"{len(weights)} tensors, {state[:8]}" if state else "none"
    said = "trained" if descriptor.trained else "untrained"
    files = _files(spec, descriptor)
    if built_again is not None and built_again != state:
        text = "weights differ every time it is built: they are random, or are drawn anew"
        yield Finding("weights", said, shown, "differs", text)
        return
    for path in files:
        yield _against(path, weights, said)
    for load in loads:
        if load.missing:
            text = (
                f"loading left {some_of(load.missing, most=2)} as they were, since the file has "
                "none of these names (strict=False keeps silent about that)"
            )
            yield Finding("loading", "all", f"{len(load.missing)} missing", "differs", text)
    if not files and weights and descriptor.trained:
        text = "no setting called weights names a file, so nothing says which weights are meant"
        yield Finding("weights", said, shown, "unknown", text)
    elif not files:
        yield Finding("weights", said, shown)


def _files(spec: DescriptorSpec, descriptor: DenseDescriptor) -> tuple[Path, ...]:
    named = [value for name, value in spec.settings if "weights" in name and value]
    own = getattr(descriptor, "weights_path", None)
    paths = [Path(str(one)) for one in (*named, *([own] if own else []))]
    return tuple(dict.fromkeys(path for path in paths if path.is_file()))


def _against(path: Path, weights: Sequence[tuple[str, Tensor]], said: str) -> Finding:
    try:
        content, _ = load_state(path)
    except WeightsError as error:
        text = f"{path.name} cannot be compared: {error.reason}"
        return Finding("weights", path.name, "–", "unknown", text)
    known = {one for tensor in content.values() for one in _contents(tensor)}
    strange = [name for name, tensor in weights if known.isdisjoint(_contents(tensor))]
    count = len(weights) - len(strange)
    shown = f"{count} of {len(weights)} tensors"
    declared = f"{said}, {path.name}"
    if not strange:
        return Finding("weights", declared, f"{shown} are its")
    if count == 0:
        text = f"nothing of {path.name} is in the network: its weights are others"
    else:
        text = f"{some_of(strange, most=2)} are not those of {path.name}"
    return Finding("weights", declared, shown, "differs", text)


def _contents(tensor: Tensor) -> tuple[str, ...]:
    """What numbers it holds, as they are and as half precision keeps them, in any shape."""
    values = tensor.detach().cpu().flatten()
    kinds = (torch.float32, torch.float16) if values.is_floating_point() else (values.dtype,)
    arrays = (as_array(values.to(kind)) for kind in kinds)
    return tuple(f"{one.dtype} {hashlib.sha256(one.tobytes()).hexdigest()}" for one in arrays)
