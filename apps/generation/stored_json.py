"""Frozen dataclasses to JSON and back, for rows that outlive the version that wrote them.

Fields that a row lacks take their defaults, so a version that adds a field with a default reads the rows of
the versions before it. Unknown fields raise: they were written by a later version, and leaving them out would
run another request than the one that was accepted.
"""

from __future__ import annotations

import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def to_json(value: DataclassInstance) -> dict[str, Any]:
    """Without the fields that have their defaults, which are most of them, at any depth.

    So a version without a new field reads the rows that do not use it, as during an upgrade. A default must
    therefore never change its meaning. Any: nested JSON. Enums and tuples become their values
    and lists in the database.
    """
    given = ((field, getattr(value, field.name)) for field in fields(value))
    return {field.name: _plain(item) for field, item in given if item != _default(field)}


def _default(field: Field[Any]) -> Any:
    """MISSING for a field without one, which nothing equals. Any: of whatever type the field is."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _plain(value: Any) -> Any:  # Any: a field of a dataclass in, JSON out
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    return value


def from_json(kind: type[T], stored: Mapping[str, Any]) -> T:
    """A dataclass from what `to_json` wrote. Raises TypeError for unknown or missing fields. Any: JSON."""
    hints = _hints(cast(Hashable, kind))
    unknown = stored.keys() - hints.keys()
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    return kind(**{name: _read(hints[name], value) for name, value in stored.items()})


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    """Types of the fields, resolved once: that takes longer than reading a row."""
    every = get_type_hints(kind)
    return {field.name: every[field.name] for field in fields(kind)}


def _read(hint: Any, value: Any) -> Any:  # Any: JSON in, whatever the hint says out
    if value is None:
        return None
    if get_origin(hint) in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not types.NoneType]
        # A union of plain types is what JSON gave; of a dataclass there is one beside None.
        return _read(options[0], value) if len(options) == 1 else value
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return tuple(_read(inner, each) for each in value)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is float:
        return float(value)
    return value
