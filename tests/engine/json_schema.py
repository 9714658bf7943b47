"""Checks JSON by a schema, as far as ours need it."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
}  # fmt: skip
_KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "type", "const", "enum", "anyOf",
    "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "minimum",
    "maximum", "minLength", "pattern",
}  # fmt: skip


def is_of(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        numbers = (int, float) if kind == "number" else int
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, _TYPES[kind])


def faults(
    value: Any, schema: dict[str, Any], place: str = "$", defs: dict[str, Any] | None = None
) -> list[str]:
    """What contradicts a schema; knows the keywords ours uses and refuses any other."""
    defs = schema.get("$defs", {}) if defs is None else defs
    assert set(schema) <= _KNOWN, f"a keyword nobody checks: {set(schema) - _KNOWN}"
    if "$ref" in schema:
        return faults(value, defs[schema["$ref"].removeprefix("#/$defs/")], place, defs)
    if "anyOf" in schema:
        every = [faults(value, one, place, defs) for one in schema["anyOf"]]
        return [] if any(not one for one in every) else every[0]
    found = []
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_of(value, kind) for kind in kinds):
        return [f"{place} is {value!r} and no {kinds}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{place} is not {schema['const']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place} is {value!r}")
    if is_of(value, "number"):
        inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        found += [] if inside else [f"{place} is {value}"]
    if isinstance(value, str):
        long_enough = len(value) >= schema.get("minLength", 0)
        fits = long_enough and re.search(schema.get("pattern", ""), value)
        found += [] if fits else [f"{place} is {value!r}"]
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{place} has {len(value)} items")
        for number, item in enumerate(value):
            found += faults(item, schema.get("items", {}), f"{place}[{number}]", defs)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [
            f"{place}.{name} is missing" for name in schema.get("required", []) if name not in value
        ]
        for name, item in value.items():
            rest = schema.get("additionalProperties", {})
            if name not in known and rest is False:
                found.append(f"{place}.{name} is unknown")
            else:
                found += faults(item, known.get(name, rest), f"{place}.{name}", defs)
    return found
