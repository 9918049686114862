"""From the server's JSON to dataclasses, without insisting.

Unknown fields are left out and missing ones take their default, so that a client of one release works with
servers of others. The whole answer stays in `raw`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypeVar

B = TypeVar("B", bound="Body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Base of all answers."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON object as it came."""


def decode(kind: type[B], value: object) -> B:
    """`value` as a `kind`; a value that is no object is as an empty one."""
    given = value if isinstance(value, dict) else {}
    # mypy takes a type of a bound variable for unhashable.
    hints = _hints(kind)  # type: ignore[arg-type]
    known = {
        name: made
        for name, each in given.items()
        if name in hints and (made := _made(hints[name], each)) is not None
    }
    return kind(raw=given, **known)


@cache
def _hints(kind: type[Body]) -> Mapping[str, Any]:
    resolved = typing.get_type_hints(kind)
    return {each.name: resolved[each.name] for each in fields(kind) if each.name != "raw"}


def _made(hint: Any, value: object) -> Any:
    """None for what does not fit, which is then left to the field's default."""
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType or origin is typing.Union:
        made = (_made(each, value) for each in arguments if each is not type(None))
        return next((each for each in made if each is not None), None)
    if origin is tuple:
        if not isinstance(value, list):
            return None
        return tuple(made for each in value if (made := _made(arguments[0], each)) is not None)
    if hint is Mapping or origin is not None:
        return value if isinstance(value, dict) else None
    if issubclass(hint, Body):
        return decode(hint, value) if isinstance(value, dict) else None
    if hint is float:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    # bool is an int to Python, never to JSON.
    return value if type(value) is hint else None
