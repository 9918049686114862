"""What a field table is, and how a body is read by one. Knows no field by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar, cast

from apps.api.bodies import JsonObject
from apps.api.modelslab.readers import shown
from apps.api.modelslab.word_readers import SOURCES
from apps.api.readers import BadValue, Reader, is_unset
from apps.core.errors import InvalidField
from apps.generation.pictures import Brought, PictureSource, UrlSource, take_pictures

T = TypeVar("T")

REQUIRED: Final = "required"
"""The `default` of a field that has none."""
MEANINGLESS: Final = frozenset({"", "no", "none", "null", "false", "0", "off"})


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a table."""

    theirs: str
    ours: str
    """The name in GenerationRequest, or of what the endpoint's translation makes of it."""
    read: Reader
    default: str
    """What an unset field means, in words; REQUIRED where it must be set."""
    since: str
    """First version of their API that has it; every version here reads it."""
    alias: str = ""
    other_aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it goes by, its own first."""
        return (self.theirs, *((self.alias,) if self.alias else ()), *self.other_aliases)


Table = tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A field that is fine while it means nothing."""

    advice: str
    """What the caller should do, as the end of the message."""
    harmless: frozenset[str] = frozenset()
    """Values, in lower case, that mean what this version does anyway; beside the unset ones and "no"."""


@dataclass(slots=True)
class Values:
    """A body, read: values by our names, and the names they came under."""

    by_name: dict[str, object] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    """Of pictures that came as addresses, by the caller's name; `meta` repeats them."""

    def has(self, name: str) -> bool:
        return name in self.by_name

    def get(self, name: str, default: T) -> T:
        """The value under `name`; its reader has made sure of the type."""
        return cast(T, self.by_name.get(name, default))

    def find(self, name: str, kind: type[T]) -> T | None:
        """The value under `name`, which its reader makes a `kind` of; None when it was not set."""
        value = self.by_name.get(name)
        assert value is None or isinstance(value, kind)
        return value

    def name_of(self, ours: str, default: str) -> str:
        """What the caller called it."""
        return self.names.get(ours, default)


def read_table(table: Table, fields: JsonObject) -> Values:
    """Raises InvalidField, with the caller's own name, for the first field that is missing or wrong."""
    values = Values()
    for row in table:
        name = next((each for each in row.names if not is_unset(fields.get(each))), "")
        if not name:
            if row.default == REQUIRED:
                raise InvalidField(field=row.theirs, problem="is required")
            continue
        try:
            values.by_name[row.ours] = row.read(fields[name])
        except BadValue as error:
            raise InvalidField(field=name, problem=str(error)) from None
        values.names[row.ours] = name
    return values


def refuse_meaningful(refused: Mapping[str, Refused], fields: JsonObject) -> None:
    """Raises InvalidField for the first refused field that means something."""
    for name, row in refused.items():
        if _means_something(fields.get(name), row):
            problem = f"is not offered by this version (seen: {shown(fields[name])}); {row.advice}"
            raise InvalidField(field=name, problem=problem)


def _means_something(value: object, refused: Refused) -> bool:
    if not value:
        return False
    if isinstance(value, list | dict):
        return True
    word = str(value).strip().lower()
    return word not in MEANINGLESS and word not in refused.harmless


def take_in_pictures(values: Values, *, now: datetime) -> None:
    """Put stored pictures in the place of where they are to be had, all of them at once.

    Raises InvalidField naming the caller's field.
    """
    places = [(ours, index, source) for ours, value in values.by_name.items() for index, source in _in(value)]
    if not places:
        return
    brought = [Brought(_spot(values, ours, index), source) for ours, index, source in places]
    stored = take_pictures(brought, now=now)
    for (ours, index, source), picture in zip(places, stored, strict=True):
        if isinstance(source, UrlSource):
            values.addresses[_spot(values, ours, index)] = source.url
        if index is None:
            values.by_name[ours] = picture
        else:
            pictures = list(cast("Sequence[object]", values.by_name[ours]))
            pictures[index] = picture
            values.by_name[ours] = tuple(pictures)


def _in(value: object) -> list[tuple[int | None, PictureSource]]:
    """The sources in one value, with their places in it; None is all of it."""
    if isinstance(value, SOURCES):
        return [(None, value)]
    if isinstance(value, tuple) and value and isinstance(value[0], SOURCES):
        return list(enumerate(value))
    return []


def _spot(values: Values, ours: str, index: int | None) -> str:
    """As a message names it: the field, and of several pictures which."""
    name = values.names[ours]
    is_alone = index is None or len(cast("Sequence[object]", values.by_name[ours])) == 1
    return name if is_alone else f"{name}[{index}]"
