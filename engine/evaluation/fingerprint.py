"""How the numbers of an evaluation were made; results with another fingerprint do not compare.

Every fact is one field of a class below, and the file's layout is that of the classes.  A new fact
is one new field with a default: older files, which lack it, read as the default, and it is written
only where it differs from that.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from engine.data.layouts.hpatches import HPatchesReader
from engine.evaluation.switches import Matcher, MetricSwitches, ProtocolName, QueryKind
from engine.vocabulary import Precision

Json = dict[str, Any]

_RESPONSE: Final = ".response"
_ROUNDING: Final = 0.02
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Which points were queries, and among what they were searched.

    Attributes:
        queries: the lists, Harris first; *listed* where the truth lists points.
        query_limit: queries of a pair and list, at most.
        long_edge_px: every image was brought to this long edge.
        grid_stride_px: distance of the places searched; None where no grid is.
        refined: matches were looked for around the best of these places, too.
    """

    queries: tuple[QueryKind, ...]
    query_limit: int
    long_edge_px: int
    grid_stride_px: int | None
    refined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPairs:
    """What was measured on.

    Attributes:
        name: of the folder or file, with ``rotated:`` or ``scaled:`` before it.
        subset: what was chosen of it.
        pairs: how many there are.
        pairs_sha256: over their names, numbers and truths.
        truths: what the truths are known from, and who made those that the data set did not give,
            such as ``flow`` and ``homography, estimated``; none where all are given homographies.
        layout: how the folder or file was read.
    """

    name: str
    subset: str
    pairs: int
    pairs_sha256: str
    truths: tuple[str, ...] = ()
    layout: str = HPatchesReader.layout

    @property
    def truth_words(self) -> str:
        """What the truths are known from, in words; "" where all are given homographies."""
        return f"truth: {'; '.join(self.truths)}" if self.truths else ""

    def title(self, group: str, index: int) -> str:
        """What users call a pair of a group."""
        in_sequence, plain = plain_titles(group, index)
        return in_sequence if self.layout == HPatchesReader.layout else plain


def plain_titles(group: str, index: int) -> tuple[str, str]:
    """What a pair is called by its group and number: in a sequence of HPatches, and elsewhere."""
    return f"{group} 1 → {index}", f"{group} {index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDescriptor:
    """A descriptor that took part.

    Attributes:
        label: what its rows are called.
        name: registered name.
        config: its settings, without the weights.
        weights_sha256: of its weights file, None without one.
        plugin: name of the file or the package it came from; None for a built-in one.
        code_sha256: of its code: the file it is in, and the local modules that imports.
        state_sha256: of the numbers its networks really held, wherever they came from; None for a
            descriptor without any.
        response: some numbers that follow from what it makes of an image that never changes; they
            notice what no hash sees, such as a library.
        trained: whether its weights were learnt.
        levels: how many maps it makes of an image.
        dim: length of a descriptor.
        matcher: how it really was matched.
        precision: arithmetic.
        oracle: whether it was given the true scales.
        calibration_sha256: of the weights that made confidences; None where none were made.
    """

    label: str
    name: str
    config: Mapping[str, Any]
    weights_sha256: str | None
    trained: bool
    levels: int
    dim: int
    matcher: Matcher
    precision: Precision
    oracle: bool = False
    plugin: str | None = None
    code_sha256: str | None = None
    state_sha256: str | None = None
    response: tuple[float, ...] = ()
    calibration_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The programs that computed; PoseLib only where it estimated."""

    project: str
    torch: str
    opencv: str
    poselib: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """All that the numbers depend on.

    Attributes:
        protocol: which of the three.
        thresholds_px: a match this close to the truth is right; ascending.
        matcher: as chosen; sets are matched exactly instead of by FLANN.
        sampler: the queries and what they are searched among.
        seed: of the draws and of the intervals.
        dataset: the pairs.
        descriptors: those that were measured, in the order of every table.
        versions: the programs.
        device: where it was computed; a GPU by its name.
        value_range: the values of the files that were black and white; None for each file's own.
        metrics: what was measured beyond PCK, and how; None for nothing.
    """

    protocol: ProtocolName
    thresholds_px: tuple[float, ...]
    matcher: Matcher
    sampler: Sampler
    seed: int
    dataset: MeasuredPairs
    descriptors: tuple[MeasuredDescriptor, ...]
    versions: Versions
    device: str
    value_range: tuple[float, ...] | None = None
    metrics: MetricSwitches | None = None

    @property
    def protocol_words(self) -> str:
        """The protocol, and whether its matches were refined."""
        return f"{self.protocol}, matches refined" if self.sampler.refined else self.protocol

    @property
    def labels(self) -> tuple[str, ...]:
        """What the rows of the descriptors are called, in order."""
        return tuple(one.label for one in self.descriptors)

    def to_json(self) -> Json:
        """As in the file."""
        plain: Json = _plain(self)
        return plain

    @classmethod
    def from_json(cls, values: Any) -> Fingerprint:
        """Back from the file.

        Raises:
            TypeError: a field is missing.
            ValueError: a field is of another kind, or not known to this version.
        """
        made: Fingerprint = _read(cls, values, "fingerprint")
        return made

    def flat(self) -> dict[str, Any]:
        """Dotted name -> value, such as ``descriptors[0].config.stride_px``."""
        return dict(_flat(self.to_json()))


def differences(
    one: Fingerprint, other: Fingerprint, *, descriptors: bool = False
) -> tuple[tuple[str, Any, Any], ...]:
    """The fields, by dotted name, in which two fingerprints differ, and both values.

    Args:
        one: a fingerprint.
        other: another one.
        descriptors: whether the descriptors have to be the same too, and the choice of metrics.
    """
    flat_one, flat_other = one.flat(), other.flat()
    free: tuple[str, ...] = ()
    if not descriptors:
        both = one.metrics is not None and other.metrics is not None
        free = ("descriptors", "metrics.chosen" if both else "metrics")
    return tuple(
        (field, flat_one.get(field), flat_other.get(field))
        for field in flat_one | flat_other
        if not _equal(field, flat_one.get(field), flat_other.get(field))
        and not field.startswith(free)
    )


def difference_text(field: str, before: Any, now: Any) -> str:
    """A field in which two fingerprints differ, with both values or what they mean."""
    if field.endswith(_RESPONSE):
        return f"{field} differs: the same image is described in another way now"
    return f"{field} was {_short(before)} and is {_short(now)} now"


def _short(value: Any) -> str:
    """A value; of a long word only how it begins, which is enough to see that it is another one."""
    text = "not recorded" if value is None else str(value)
    return f"{text[:12]}…" if _HASH.fullmatch(text) else text


def _equal(field: str, one: Any, other: Any) -> bool:
    """Whether two values say the same; responses are computed, and rounded differently."""
    if field.endswith(_RESPONSE) and isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            math.isclose(a, b, abs_tol=_ROUNDING) for a, b in zip(one, other, strict=True)
        )
    return bool(one == other)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        named = ((field, getattr(value, field.name)) for field in fields(value))
        return {
            field.name: _plain(one)
            for field, one in named
            if field.default is MISSING or one != field.default
        }
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _read(kind: Any, value: Any, place: str) -> Any:
    """A value of this kind, or an error that names its place."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is types.UnionType:  # of one kind and None
        return None if value is None else _read(inner[0], value, place)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(inner[0], one, f"{place}[{n}]") for n, one in enumerate(value))
    if is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind)
        for name in value:
            if name not in hints:
                raise ValueError(f"{place}.{name} is not known to this version")
        return kind(**{n: _read(hints[n], one, f"{place}.{n}") for n, one in value.items()})  # type: ignore[operator]
    wanted = (int, float) if kind is float else origin or kind
    if not (
        value in inner
        if origin is Literal
        else isinstance(value, wanted) and (kind is bool) == isinstance(value, bool)
    ):
        raise ValueError(f"{place} is {value!r}")
    return value


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        yield f"{name}.count", len(value)
        for number, one in enumerate(value):
            yield from _flat(one, f"{name}[{number}]")
    else:
        yield name, value
