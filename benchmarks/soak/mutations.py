"""Damage done to files: blind (bits, cuts, blocks), and with knowledge of their format."""

from __future__ import annotations

import gzip
import io
import json
import math
import random
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

Mutate = Callable[[bytes, random.Random], bytes]

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_ODD_TEXTS = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"-0.0", b"1e-320", b"99999999999999999999",
    b"", b"x", b"null", b"true", b"1e308", b"0x10", b"1_000", b"\xc2\xb2", b"2147483648", b".5.",
)  # fmt: skip
_ODD_INTEGERS = (
    *(0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
    *(0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF),
)
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, "", "x", "nan", "a\0b", "../../x", "/", "日本\u202e\x1b[2J", "\ud800",
    "y" * 5000, 0, 1, -1, 0.5, -0.5, 2**31, 2**63, -(2**63), 10**400, 1e308, math.nan, math.inf,
    -math.inf, [], {}, [None], {"": None}, [[]], [1, [2, [3]]], {"a": {"b": 1}}, "2020-13-45",
    1e-320, 3.0, "3", "none", [math.nan] * 9,
)  # fmt: skip
_ODD_NAMES = (
    "../out.png", "/tmp/out.png", "a\\b", "C:x", "a/../b", ".", "", "a" * 300, "a\nb", "é/ü",
    "\udce9", "CON", "a//b", "./1.png",
)  # fmt: skip


def mutate(name: str, data: bytes, rng: random.Random) -> bytes:
    """Damage a file's content, by its kind half of the time; the result may be equal."""
    known = _BY_SUFFIX.get(name.rpartition(".")[2].lower(), _text if _is_text(data) else None)
    if known is not None and rng.random() < 0.6:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return known(data, rng)
        except Exception:  # the damage did not fit the file; blind damage always does
            return blind(data, rng)
    return blind(data, rng)


def blind(data: bytes, rng: random.Random) -> bytes:
    """One to eight pieces of damage that need no knowledge of the format."""
    content = bytearray(data)
    for _ in range(1 if rng.random() < 0.5 else rng.randint(2, 8)):
        content = _blind_once(content, rng)
    return bytes(content)


def _blind_once(content: bytearray, rng: random.Random) -> bytearray:
    size = len(content)
    # Headers decide more than bodies.
    place = rng.randrange(max(1, min(size, 200) if rng.random() < 0.5 else size))
    length = rng.choice((1, 2, 4, 16, 256, 4096))
    kind = rng.randrange(8)
    if kind == 0 and size:
        content[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del content[place : place + length]
    elif kind == 2:
        del content[place:]
    elif kind == 3:
        content[place:place] = rng.randbytes(length)
    elif kind == 4:
        other = rng.randrange(max(1, size))
        block = content[other : other + length]
        content[place : place + len(block)] = block
    elif kind == 5:
        width = rng.choice((1, 2, 4, 8))
        value = rng.choice(_ODD_INTEGERS) & ((1 << (8 * width)) - 1)
        content[place : place + width] = value.to_bytes(width, rng.choice(("little", "big")))
    elif kind == 6:
        content[place : place + length] = bytes([rng.choice((0, 255, 10, 32))]) * length
    else:
        block = content[place : place + length]
        content[place:place] = block * rng.randint(1, 50)
    return content


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:512]


def _text(data: bytes, rng: random.Random) -> bytes:
    """Other numbers, and lines that are gone, doubled, swapped or long."""
    kind = rng.randrange(4)
    found = list(_NUMBER.finditer(data))
    if kind <= 1 and found:
        one = rng.choice(found)
        return data[: one.start()] + rng.choice(_ODD_TEXTS) + data[one.end() :]
    lines = data.splitlines(keepends=True) or [b""]
    place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    if kind == 2:
        lines[place], lines[other] = lines[other], lines[place]
    else:
        change = rng.randrange(4)
        lines[place] = (
            b"",
            lines[place] * 2,
            lines[place].rstrip(b"\r\n") + b"\r" + rng.choice(_ODD_TEXTS) + b"\n",
            b"\xef\xbb\xbf" + lines[place],
        )[change]
    return b"".join(lines)


# ---- nested values -----------------------------------------------------------------------------


def change_values(value: Any, rng: random.Random) -> Any:
    """One to three changes somewhere inside nested values."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _change_one(value, rng)
    return value


def _change_one(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        kind = rng.randrange(12)
        changed = dict(value)
        if kind == 0:
            del changed[name]
        elif kind == 1:
            changed[rng.choice(("", "x", name + "x", "a.b", "-", "é\u202e"))] = changed.pop(name)
        elif kind == 2:
            changed[rng.choice(("extra", "values", "\n"))] = _odd(value, rng)
        else:
            changed[name] = _change_one(value[name], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        kind = rng.randrange(10)
        if kind == 0:
            return value[:place] + value[place + 1 :]
        if kind == 1:
            return [*value, value[place]]
        if kind == 2:
            return value[place:] + value[:place]
        return [*value[:place], _change_one(value[place], rng), *value[place + 1 :]]
    return _odd(value, rng)


def _odd(value: Any, rng: random.Random) -> Any:
    kind = rng.randrange(8)
    if kind == 0:
        deep: Any = value
        for _ in range(rng.choice((2, 40, 1500))):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        return deep
    if kind == 1 and isinstance(value, int | float) and not isinstance(value, bool):
        with_sign: Any = -value
        return with_sign
    if kind == 2 and isinstance(value, int | float) and not isinstance(value, bool):
        return rng.choice((value + 1, value * 1e6, str(value), [value], float(value) / 3))
    if kind == 3 and isinstance(value, str):
        return rng.choice(
            (value * 2, value[:-1], value.upper(), [value], {"a": value}, f"{value}\n")
        )
    return rng.choice(_ODD_VALUES)


def _json(data: bytes, rng: random.Random) -> bytes:
    changed = change_values(json.loads(data), rng)
    return json.dumps(changed, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")


def _json_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    # The first line is the head.
    place = 0 if rng.random() < 0.3 else rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        lines.insert(rng.randrange(len(lines)), lines[place])
    elif kind == 1:
        del lines[place]
    else:
        lines[place] = _json(lines[place], rng) + b"\n"
    return b"".join(lines)


def _yaml(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return _text(data, rng)
    changed = change_values(yaml.safe_load(data), rng)
    text: str = yaml.safe_dump(changed, allow_unicode=rng.random() < 0.5, sort_keys=False)
    return text.encode("utf-8", "surrogatepass")


# ---- containers ---------------------------------------------------------------------------------


def _zip(data: bytes, rng: random.Random) -> bytes:
    """Members changed, renamed or gone, with checksums that fit again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = rng.randrange(len(members))
    name, content = members[place]
    kind = rng.randrange(8)
    if kind == 0:
        del members[place]
    elif kind == 1:
        members[place] = (rng.choice(_ODD_NAMES), content)
    elif kind == 2:
        members.append((name, content))
    elif kind == 3:
        members[place] = (members[rng.randrange(len(members))][0], content)
    else:
        members[place] = (name, mutate(name, content, rng))
    made = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(made, "w", method) as archive:
        for member, inside in members:
            archive.writestr(member, inside)
    return made.getvalue()


def _tar(data: bytes, rng: random.Random) -> bytes:
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as archive,
        tarfile.open(
            fileobj=made, mode="w", format=rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        ) as target,
    ):
        members = archive.getmembers()
        chosen = rng.randrange(len(members))
        for place, info in enumerate(members):
            source = archive.extractfile(info) if info.isreg() else None
            content = source.read() if source is not None else b""
            if place == chosen:
                kind = rng.randrange(6)
                if kind == 0:
                    info.name = rng.choice(_ODD_NAMES)
                elif kind == 1:
                    info.type = rng.choice(
                        (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
                    )
                    info.linkname = rng.choice((*_ODD_NAMES, members[0].name))
                    content = b""
                elif kind == 2:
                    content = mutate(info.name, content, rng)
                elif kind == 3:
                    info.pax_headers = {"path": rng.choice(_ODD_NAMES), "size": "99"}
                elif kind == 4:
                    info.mode = 0
                else:
                    continue
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return made.getvalue()


def _gzip(data: bytes, rng: random.Random) -> bytes:
    plain = gzip.decompress(data)
    return gzip.compress(_tar(plain, rng) if rng.random() < 0.6 else blind(plain, rng), 1)


def _array(data: bytes, rng: random.Random) -> bytes:
    """An ``.npy`` with another shape, type or content."""
    array: Any = np.load(io.BytesIO(data), allow_pickle=False)
    kind = rng.randrange(10)
    if kind == 0:
        array = array.astype(rng.choice(("f2", "f8", ">f4", "i1", "u8", "c16", "?", "S3", "U5")))
    elif kind == 1:
        array = array.reshape(rng.choice((-1, (1, *array.shape), (*array.shape, 1))))
    elif kind == 2:
        array = array[..., :0] if array.ndim else np.empty(0)
    elif kind == 3:
        array = np.asfortranarray(array.T)
    elif kind == 4:
        array = np.array([{"a": 1}, None], dtype=object)
    elif kind == 5:
        array = np.zeros(3, dtype=[("a", "f4"), ("b", "i2")])
    elif kind == 6:
        array = np.array(rng.choice([value for value in _ODD_VALUES if value != "\ud800"]))
    else:
        array = np.array(array)
        if array.size:
            odd: Any = rng.choice((math.nan, math.inf, -math.inf, -1, 1e30, 1e300, 0, 1e-40))
            flat = array.reshape(-1)
            begin = rng.randrange(flat.size)
            flat[begin : begin + rng.choice((1, 8, flat.size))] = odd
    made = io.BytesIO()
    np.save(made, array, allow_pickle=True)
    return made.getvalue()


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    """Another header, with a length that fits."""
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.3:
        return data[:8] + header + _floats(body, rng)
    changed = _json(header, rng) if rng.random() < 0.8 else blind(header, rng)
    return len(changed).to_bytes(8, "little") + changed + body


def _floats(body: bytes, rng: random.Random) -> bytes:
    values = np.frombuffer(body[: len(body) // 4 * 4], np.float32).copy()
    values[rng.randrange(values.size)] = rng.choice((math.nan, math.inf, 1e38, 0.0))
    return values.tobytes() + body[len(body) // 4 * 4 :]


def _png(data: bytes, rng: random.Random) -> bytes:
    """A chunk changed, doubled or gone, with checksums that fit again."""
    chunks, place = [], 8
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = rng.randrange(len(chunks))
    name, content = chunks[chosen]
    kind = rng.randrange(6)
    if kind == 0:
        del chunks[chosen]
    elif kind == 1:
        chunks.insert(rng.randrange(len(chunks)), chunks[chosen])
    elif kind == 2 and name == b"IDAT":
        pixels = blind(zlib.decompress(content), rng)
        chunks[chosen] = (name, zlib.compress(pixels))
    else:
        chunks[chosen] = (name, blind(content, rng))
    made = data[:8]
    for name, content in chunks:
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        made += len(content).to_bytes(4, "big") + name + content + checksum
    return made


_BY_SUFFIX: dict[str, Mutate] = {
    "json": _json, "jsonl": _json_lines, "yaml": _yaml, "npz": _zip, "npy": _array, "zip": _zip,
    "pth": _zip, "pt": _zip, "tar": _tar, "gz": _gzip, "safetensors": _safetensors, "png": _png,
    "txt": _text, "csv": _text, "ini": _text, "py": _text,
}  # fmt: skip
