"""What an ONNX file says of its weights, read without the library onnx.

The file is a message of Protocol Buffers: numbered fields, which may hold further messages.  Only
the few fields below are read; their numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.errors import WeightsError
from engine.files import open_input

_Bytes = bytes | mmap.mmap
_Span = tuple[int, int]

_MODEL_GRAPH: Final = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OPERATION, _NODE_ATTRIBUTE = 1, 4, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL = 1, 2, 8, 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_DEEPEST: Final = 16


@dataclass(frozen=True, slots=True)
class Initializer:
    """Weights of a graph.

    Attributes:
        name: in the graph.
        shape: as stored.
        data_type: the number of ``TensorProto.DataType``.
    """

    name: str
    shape: tuple[int, ...]
    data_type: int


@dataclass(slots=True)
class OnnxGraph:
    """What was found in a file.

    Attributes:
        initializers: weights by name.
        nodes: operation and inputs of each node, in order.
        external: names of the files beside it that hold weights, in order of their mention.
    """

    initializers: dict[str, Initializer] = field(default_factory=dict)
    nodes: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    external: dict[str, None] = field(default_factory=dict)


def read_onnx_graph(file: Path) -> OnnxGraph:
    """Read nodes and the list of weights; the weights themselves stay on disk.

    Raises:
        WeightsError: the file cannot be read, or is no ONNX network.
    """
    found = OnnxGraph()
    with (
        open_input(file, WeightsError) as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        try:
            for number, span in _messages(data, (0, len(data))):
                if number == _MODEL_GRAPH:
                    _read_graph(data, span, found, _DEEPEST)
        except (ValueError, IndexError) as error:
            raise WeightsError(file, f"is damaged or no ONNX network ({error})") from error
    return found


def _read_graph(data: _Bytes, span: _Span, found: OnnxGraph, depth: int) -> None:
    for number, inner in _messages(data, span):
        if number == _GRAPH_INITIALIZER:
            one = _read_tensor(data, inner, found)
            found.initializers[one.name] = one
        elif number == _GRAPH_NODE:
            _read_node(data, inner, found, depth)


def _read_node(data: _Bytes, span: _Span, found: OnnxGraph, depth: int) -> None:
    operation, inputs = "", []
    for number, inner in _messages(data, span):
        if number == _NODE_INPUT:
            inputs.append(_text(data, inner))
        elif number == _NODE_OPERATION:
            operation = _text(data, inner)
        elif number == _NODE_ATTRIBUTE:
            for kind, part in _messages(data, inner):
                if kind in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                    _read_tensor(data, part, found)
                elif kind in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS) and depth:
                    _read_graph(data, part, found, depth - 1)
    found.nodes.append((operation, tuple(inputs)))


def _read_tensor(data: _Bytes, span: _Span, found: OnnxGraph) -> Initializer:
    shape: list[int] = []
    name, data_type = "", 0
    for number, value in _fields(data, span):
        if number == _TENSOR_DIMS:
            shape += [value] if isinstance(value, int) else _packed(data, value)
        elif number == _TENSOR_TYPE and isinstance(value, int):
            data_type = value
        elif number == _TENSOR_NAME and not isinstance(value, int):
            name = _text(data, value)
        elif number == _TENSOR_EXTERNAL and not isinstance(value, int):
            entry = dict(_messages(data, value))
            if _ENTRY_KEY in entry and _text(data, entry[_ENTRY_KEY]) == "location":
                found.external[_text(data, entry[_ENTRY_VALUE])] = None
    return Initializer(name, tuple(shape), data_type)


def _messages(data: _Bytes, span: _Span) -> Iterator[tuple[int, _Span]]:
    """The fields that have a length: texts, bytes and messages."""
    for number, value in _fields(data, span):
        if not isinstance(value, int):
            yield number, value


def _fields(data: _Bytes, span: _Span) -> Iterator[tuple[int, int | _Span]]:
    """Number and value of each field; of one that has a length, where it lies."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _LENGTH:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("a field is longer than what holds it")
            yield number, (at, at + length)
            at += length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError("a field is of no known kind")


def _packed(data: _Bytes, span: _Span) -> list[int]:
    at, end = span
    values = []
    while at < end:
        value, at = _varint(data, at)
        values.append(value)
    return values


def _varint(data: _Bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")


def _text(data: _Bytes, span: _Span) -> str:
    return data[slice(*span)].decode("utf-8", "replace")
