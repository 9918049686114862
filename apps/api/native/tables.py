"""Reads lists and objects of the native API by tables of their fields; `readers` has what stands in them.

What is wrong inside is named by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apps.api.readers import BadValue, JsonSchema, Reader, refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    each: Reader
    most: int

    @property
    def allowed(self) -> str:
        return f"a list of at most {self.most}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "array", "items": self.each.schema, "maxItems": self.most}

    def __call__(self, value: object) -> tuple[object, ...]:
        if not isinstance(value, list) or len(value) > self.most:
            raise refuse(self, value)
        return tuple(_read_at(index, self.each, item) for index, item in enumerate(value))


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a table."""

    theirs: str
    ours: str
    """The name in GenerationRequest or in the part of it that the table is for."""
    read: Reader
    meaning: str
    """In words, with what it is when it is left out."""
    is_required: bool = False


Table = tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A part of a request whose pictures are still to be had."""

    make: Callable[..., object]
    values: Mapping[str, object]
    """By our names."""
    table: Table


@dataclass(frozen=True, slots=True)
class Part:
    """An object with fields of its own; what comes out is a Draft of `make`."""

    make: Callable[..., object]
    table: Table

    @property
    def allowed(self) -> str:
        return "an object with " + ", ".join(row.theirs for row in self.table)

    @property
    def schema(self) -> JsonSchema:
        return object_schema(self.table)

    def __call__(self, value: object) -> Draft:
        if not isinstance(value, dict):
            raise refuse(self, value)
        return Draft(self.make, read_table(self.table, value), self.table)


def read_table(table: Table, fields: Mapping[str, object]) -> dict[str, object]:
    """Values by our names; null is as left out. Raises BadValue for what is unknown, missing or wrong."""
    rows = {row.theirs: row for row in table}
    unknown = sorted(fields.keys() - rows.keys())
    if unknown:
        raise BadValue(f"is not known here; there are {', '.join(rows)}", (unknown[0][:60],))
    values = {}
    for name, row in rows.items():
        if fields.get(name) is not None:
            values[row.ours] = _read_at(name, row.read, fields[name])
        elif row.is_required:
            raise BadValue("is required", (name,))
    return values


def _read_at(key: str | int, read: Reader, value: object) -> object:
    try:
        return read(value)
    except BadValue as error:
        raise BadValue(str(error), (key, *error.path)) from None


def object_schema(table: Table) -> JsonSchema:
    """JSON Schema of an object with these fields and no others."""
    schema: JsonSchema = {
        "type": "object",
        "properties": {row.theirs: row.read.schema | {"description": row.meaning} for row in table},
        "additionalProperties": False,
    }
    required = [row.theirs for row in table if row.is_required]
    return schema | ({"required": required} if required else {})
