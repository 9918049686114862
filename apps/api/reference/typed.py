"""JSON Schema of the types that answers are made of: TypedDicts and dataclasses of plain values."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Final

PLAIN: Final[dict[object, str]] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}


def schema_of(kind: Any) -> dict[str, Any]:  # Any: types in, JSON Schema out
    """Raises TypeError for a type that no answer has had so far."""
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is dict:
        return {"type": "object"}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [schema_of(each) for each in inner]}
    if typing.is_typeddict(kind) or dataclasses.is_dataclass(kind):
        fields = typing.get_type_hints(kind)
        return {
            "type": "object",
            "description": (kind.__doc__ or "").split("\n")[0],
            "required": list(fields),
            "properties": {name: schema_of(each) for name, each in fields.items()},
        }
    raise TypeError(f"{kind!r} has no JSON Schema here: add a case")
