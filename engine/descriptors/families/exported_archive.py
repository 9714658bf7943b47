"""Programs of torch in files, checked before torch reads them: no code of a file is run.

``torch.export.load`` (torch 2.13) was not made for files of strangers.  It unpickles example
inputs, constants and weights without limits where the archive asks for it, evaluates expressions of
sizes and guards as Python, imports modules that descriptions of containers name, looks up any
attribute of torch for an operator, and writes names into the Python that it compiles.  So it never
gets a file.  :func:`safe_archive` makes a new archive of the parts that are only data, and refuses
whatever it does not know: operators come from a list of namespaces, expressions hold symbols and
arithmetic, names are words, tensors are bytes or read with ``weights_only``, and there are no
example inputs.

``torch.jit.load`` reads TorchScript, a language of its own which cannot call Python.  Its programs
can read and write files by two operators, and :func:`check_torchscript` refuses those that do.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from engine.errors import WeightsError
from engine.files import open_input

_MODEL: Final = "models/model.json"
_INPUTS: Final = "data/sample_inputs/model.pt"
_TENSORS: Final = {
    "data/weights/": "data/weights/model_weights_config.json",
    "data/constants/": "data/constants/model_constants_config.json",
}
_PLAIN: Final = ("archive_format", "archive_version", "byteorder", ".data/version")
_MOST_BYTES: Final = 16 << 30
_MOST_JSON_BYTES: Final = 256 << 20

_WORD: Final = re.compile(r"[\w.\-+:/, ]*", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PATH: Final = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*|", re.ASCII)
_OPERATOR: Final = re.compile(
    r"torch\.ops\.(aten|prims|prim|torchvision|quantized|quantized_decomposed)"
    r"\.(?!__)[a-z_A-Z0-9]+\.(?!__)\w+"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|torch\._?sym_[a-z]+|math\.[a-z0-9]+"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_"
    r"|not_|getitem)",
    re.ASCII,
)
_FILE_OPERATORS: Final = re.compile(r"\b(from_file|save|load_tensor)\b")
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_]\w*)|'(?P<symbol>[A-Za-z_]\w*)'|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
    r"|[-+*/()=,<>])",
    re.ASCII,
)
_SYMBOL: Final = re.compile(r"z?[suf]+\d+|zuf\d+", re.ASCII)
_EXPRESSION_WORDS: Final = frozenset(
    (
        *("Symbol", "Integer", "Rational", "Float", "Mul", "Add", "Pow", "Max", "Min", "Mod"),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Not", "And", "Or", "Relational", "True", "False"),
        *("positive", "negative", "nonnegative", "nonpositive", "integer", "real", "finite"),
        *("zero", "nonzero", "precision", "commutative", "even", "odd", "evaluate"),
        *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt"),
        *("FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "Identity"),
        *("FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator", "TruncToFloat"),
        *("TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat"),
    )
)
_CONTAINERS: Final = (
    *("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"),
    *("torch.Size", None),
)
_TORCHSCRIPT_CODE: Final = re.compile(r"\b(?:torch|ops\s*\.\s*\w+)\s*\.\s*(from_file|save|load)\b")


def safe_archive(file: Path) -> io.BytesIO:
    """A copy of a ``.pt2`` file that holds nothing but data.

    Raises:
        WeightsError: it cannot be read, is damaged, or holds more than data, which is named.
    """
    parts = _read_parts(file)
    names = set(parts)
    if any("data/aotinductor/" in name for name in names):
        raise WeightsError(file, "holds compiled code, which is not run; use torch.export.save")
    if _MODEL not in names:
        old = "serialized_exported_program.json" in names
        reason = "was saved by an older torch; save it again" if old else "is no torch.export file"
        raise WeightsError(file, reason)
    try:
        program = json.loads(parts[_MODEL])
        _check_program(program)
        safe: dict[str, bytes] = {name: parts[name] for name in _PLAIN if name in names}
        for folder, listed in _TENSORS.items():
            config = json.loads(parts[listed])
            safe |= _checked_tensors(config, folder, parts)
            safe[listed] = json.dumps(config).encode()
    except _NotDataError as error:
        raise WeightsError(file, f"is not opened, since it may run code: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(file, "is damaged, or no torch.export file that is known") from error
    program["guards_code"] = []
    safe[_MODEL] = json.dumps(program).encode()
    safe[_INPUTS] = b""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in safe.items():
            archive.writestr(f"program/{name}", content)
    made.seek(0)
    return made


def check_torchscript(file: Path) -> None:
    """Refuse a TorchScript program that reads or writes files.

    Raises:
        WeightsError: it does, or it cannot be read.
    """
    for name, content in _read_parts(file, only="code/").items():
        found = _TORCHSCRIPT_CODE.search(content.decode("utf-8", "replace"))
        if found and name.endswith(".py"):
            raise WeightsError(file, f"is not opened, since it uses files ({found[0]})")


class _NotDataError(Exception):
    """A part of a program is not on the list of what is known to be harmless."""


def _read_parts(file: Path, only: str = "") -> dict[str, bytes]:
    """The parts of an archive by their names behind its own folder."""
    with open_input(file, WeightsError) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                parts = [one for one in archive.infolist() if not one.is_dir()]
                inside = {one.filename: one.filename.partition("/")[2] for one in parts}
                repeated = Counter(one.filename.lower() for one in parts).most_common(1)
                if not parts or repeated[0][1] > 1 or len(set(inside.values())) < len(parts):
                    raise WeightsError(file, "is damaged: parts of it have the same name")
                if sum(one.file_size for one in parts) > _MOST_BYTES:
                    raise WeightsError(file, "is too large")
                return {
                    name: archive.read(whole)
                    for whole, name in inside.items()
                    if name.startswith(only)
                }
        except (
            zipfile.BadZipFile,
            ValueError,
            NotImplementedError,
            RuntimeError,
            EOFError,
        ) as error:
            raise WeightsError(file, "is damaged or incomplete") from error


def _checked_tensors(config: Any, folder: str, parts: dict[str, bytes]) -> dict[str, bytes]:
    """The files of weights or constants that a list of them names; pickles are written anew."""
    found = {}
    for name, one in config["config"].items():
        _need(_PATH, name, "a name of weights")
        place = f"{folder}{one['path_name']}"
        _need(_NAME, one["path_name"], "a name of a file")
        if one["path_name"].startswith(("custom_obj", "opaque_obj")):
            raise _NotDataError(f"it holds an object beside its weights, {name}")
        content = parts[place]
        if one["use_pickle"]:
            try:
                tensor = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except Exception as error:  # torch's reader raises many kinds
                raise _NotDataError(f"{name} is no tensor") from error
            if not isinstance(tensor, Tensor):
                raise _NotDataError(f"{name} is no tensor")
            again = io.BytesIO()
            torch.save(tensor, again)
            content = again.getvalue()
        found[place] = content
        _check_values(one)
    return found


def _check_program(program: Any) -> None:
    """Refuse what is not known to be data; drops what is not needed to compute."""
    for text in program.get("range_constraints", {}):
        _check_expression(text)
    ranges = program.pop("range_constraints", {})
    program["guards_code"] = []
    module = program["graph_module"]
    module["metadata"] = {}
    for call in module["module_call_graph"]:
        signature = call.get("signature")
        if signature:
            for key in ("in_spec", "out_spec"):
                _, spec = json.loads(signature[key])
                _check_container(spec)
    specs = [call.pop("signature", None) for call in module["module_call_graph"]]
    for signature in specs:
        for name in (signature or {}).get("forward_arg_names") or ():
            _need(_NAME, name, "a name of an argument")
    _check_values(program)
    for call, signature in zip(module["module_call_graph"], specs, strict=True):
        call["signature"] = signature
    program["range_constraints"] = ranges


def _check_values(values: Any, key: str = "") -> None:
    """Check every text in nested values by the key it stands under."""
    if isinstance(values, dict):
        if "metadata" in values and "target" in values:
            values["metadata"] = {}  # of a node: where it came from
        for name, one in values.items():
            _need(_WORD, name, "a name")
            _check_values(one, name)
    elif isinstance(values, list):
        for one in values:
            _check_values(one, key)
    elif isinstance(values, str):
        if key == "expr_str":
            _check_expression(values)
        elif key in ("target", "as_operator"):
            _need(_OPERATOR, values, "an operator")
            if _FILE_OPERATORS.search(values):
                raise _NotDataError(f"it uses files ({values})")
        elif key in ("parameter_name", "buffer_name", "tensor_constant_name", "fqn"):
            _need(_PATH, values, "a name of weights")
        elif key == "name":
            if values:
                _need(_NAME, values, "a name")
        else:
            _need(_WORD, values, "a text")


def _check_container(spec: Any) -> None:
    """Refuse inputs or outputs in other containers than tuples, lists and mappings by text."""
    if spec["type"] not in _CONTAINERS:
        raise _NotDataError(f"it returns or takes a {spec['type']}")
    context = spec["context"]
    keys = json.loads(context) if isinstance(context, str) else context
    for one in keys if isinstance(keys, list) else [keys]:
        if not (one is None or isinstance(one, int)):
            _need(_WORD, one, "a key")
    for child in spec["children_spec"]:
        _check_container(child)


def _check_expression(text: str) -> None:
    """Refuse an expression with anything but symbols, numbers, arithmetic and known functions."""
    at = 0
    while at < len(text.rstrip()):
        token = _TOKEN.match(text, at)
        if token is None:
            raise _NotDataError(f"an expression that is not known ({text[:60]!r})")
        word, symbol = token["word"], token["symbol"]
        if word is not None and not (word in _EXPRESSION_WORDS or _SYMBOL.fullmatch(word)):
            raise _NotDataError(f"an expression that is not known ({word})")
        if symbol is not None and not _SYMBOL.fullmatch(symbol):
            raise _NotDataError(f"an expression that is not known ({symbol})")
        at = token.end()


def _need(pattern: re.Pattern[str], text: Any, what: str) -> None:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise _NotDataError(f"{what} that is not known ({str(text)[:60]!r})")
