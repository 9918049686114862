"""JSON Schema of types: of TypedDicts and dataclasses that answers are made of, of what readers give back."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from datetime import datetime, timedelta
from typing import Any, Final

PLAIN: Final[dict[object, dict[str, str]]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
    # Seconds, as every dialect writes durations.
    timedelta: {"type": "number"},
}


def schema_of(kind: Any) -> dict[str, Any]:  # Any: types in, JSON Schema out
    """Raises TypeError for a type that nothing has had so far."""
    if kind in PLAIN:
        return dict(PLAIN[kind])
    if kind in (Any, object):
        return {}
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, tuple):
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is dict:
        return {"type": "object"}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [schema_of(each) for each in inner]}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [each.value for each in kind]}
    if typing.is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return _object(kind)
    raise TypeError(f"{kind!r} has no JSON Schema here: add a case")


def _object(kind: Any) -> dict[str, Any]:  # Any: as above
    fields = typing.get_type_hints(kind)
    return {
        "type": "object",
        "description": (kind.__doc__ or "").split("\n")[0],
        "required": [name for name in fields if name in _required(kind)],
        "properties": {name: schema_of(each) for name, each in fields.items()},
    }


def _required(kind: Any) -> set[str]:  # Any: as above
    """Names that are always there; Python's own list cannot read NotRequired from annotations in text."""
    told = typing.get_type_hints(kind, include_extras=True)
    optional = {name for name, each in told.items() if typing.get_origin(each) is typing.NotRequired}
    return set(getattr(kind, "__required_keys__", told)) - optional


def schema_of_result(read: Any) -> dict[str, Any]:  # Any: a function in, JSON Schema out
    """Of what a reader gives back, which is what a plain caller sends."""
    returned = typing.get_type_hints(read)["return"]
    return {} if returned is object else schema_of(returned)
