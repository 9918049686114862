"""Reads the loose spellings of the ModelsLab dialect: numbers as text, flags as words, nothing as "".

Tolerant of spelling, strict about meaning: what is not plainly a value of the kind is a BadValue that says
what was seen and what is allowed. Knows no field by name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from apps.api import readers
from apps.api.readers import BadValue, JsonSchema, Reader, Spelling, storable, whole_of

RATIO_TEXT: Final = re.compile(r"\s*([0-9]{1,5})\s*[:/]\s*([0-9]{1,5})\s*")
SIZE_TEXT: Final = re.compile(r"\s*([0-9]{1,5})\s*[xX×*]\s*([0-9]{1,5})\s*")

YES: Final = frozenset({"yes", "true", "1", "on"})
NO: Final = frozenset({"no", "false", "0", "off"})
SPELLING: Final = Spelling(
    whole_text=re.compile(r"\s*[+-]?[0-9]{1,20}(\.0{0,20})?\s*"),
    number_text=re.compile(r"\s*[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?\s*"),
    yes=YES,
    no=NO,
    flag="yes or no (also true, false, 1, 0)",
    closes_quotes=True,
)
RANDOM_SEED: Final = -1
# What every JSON reader carries; PostgreSQL's own integers end there as well.
MAX_TRACK_INT: Final = 2**63 - 1
MAX_TRACK_CHARS: Final = 255


def shown(value: object) -> str:
    """A value as messages of this dialect show it."""
    return readers.shown(value, SPELLING)


def list_in(value: object) -> object:
    """The list that a text of JSON holds; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list) else value


def refuse(reader: Reader, value: object) -> BadValue:
    """What is allowed, and what was seen instead."""
    return readers.refuse(reader, value, SPELLING)


class Whole(readers.Whole):
    """A whole number in a range; `512`, `"512"` and `512.0` are the same, `512.5` and `true` are not."""

    __slots__ = ()
    spelling = SPELLING


class Number(readers.Number):
    """A finite number in a range, as a number or as text."""

    __slots__ = ()
    spelling = SPELLING


class Text(readers.Text):
    """Text that UTF-8 and PostgreSQL can hold."""

    __slots__ = ()
    spelling = SPELLING


class Flag(readers.Flag):
    """Yes or no in any spelling."""

    __slots__ = ()
    spelling = SPELLING


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A seed; -1 is "draw one", which is None here, and 0 as well where an endpoint says so."""

    highest: int
    is_zero_random: bool = False

    @property
    def allowed(self) -> str:
        random = "-1 or 0" if self.is_zero_random else "-1"
        return f"a whole number from 0 to {self.highest}, or {random} for a random one"

    @property
    def schema(self) -> JsonSchema:
        return {"type": ["integer", "null"], "minimum": RANDOM_SEED, "maximum": self.highest}

    def __call__(self, value: object) -> int | None:
        number = whole_of(value, SPELLING)
        if number == RANDOM_SEED or (self.is_zero_random and number == 0):
            return None
        if number is None or not 0 <= number <= self.highest:
            raise refuse(self, value)
        return number


@dataclass(frozen=True, slots=True)
class Track:
    """The caller's own mark, kept with its type because it is echoed as given."""

    allowed: str = f"text of at most {MAX_TRACK_CHARS} characters or a whole number of 64 bits"

    @property
    def schema(self) -> JsonSchema:
        return {"type": ["string", "integer"], "maxLength": MAX_TRACK_CHARS}

    def __call__(self, value: object) -> str | int:
        if isinstance(value, str) and len(value) <= MAX_TRACK_CHARS:
            return storable(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_TRACK_INT:
            return value
        raise refuse(self, value)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Width to height, e.g. `16:9` or `1920:1080`."""

    allowed: str = 'width:height, such as "16:9"'

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": f"^{RATIO_TEXT.pattern}$"}

    def __call__(self, value: object) -> tuple[int, int]:
        match = RATIO_TEXT.fullmatch(value) if isinstance(value, str) else None
        wide, high = (int(match[1]), int(match[2])) if match else (0, 0)
        if not (wide and high):
            raise refuse(self, value)
        return wide, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Both sides in one text, e.g. `1024x768`."""

    side: Whole

    @property
    def allowed(self) -> str:
        return f'"WIDTHxHEIGHT", each {self.side.allowed}'

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": f"^{SIZE_TEXT.pattern}$"}

    def __call__(self, value: object) -> tuple[int, int]:
        match = SIZE_TEXT.fullmatch(value) if isinstance(value, str) else None
        try:
            sides = (self.side(match[1]), self.side(match[2])) if match else None
        except BadValue:
            sides = None
        if sides is None:
            raise refuse(self, value)
        return sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """One name or several, separated by commas, or a list of names."""

    max_names: int
    max_chars: int

    @property
    def allowed(self) -> str:
        return f"1 to {self.max_names} names, separated by commas"

    @property
    def schema(self) -> JsonSchema:
        return {"type": ["string", "array"], "items": {"type": "string"}, "maxItems": self.max_names}

    def __call__(self, value: object) -> tuple[str, ...]:
        value = list_in(value)
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise refuse(self, value)
        names = [storable(part.strip()) for part in parts if part.strip()]
        if len(names) > self.max_names or any(len(name) > self.max_chars for name in names):
            raise BadValue(f"must be {self.allowed}, not {len(names)}")
        return tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """One number or several, separated by commas, or a list of numbers."""

    number: Number
    max_numbers: int

    @property
    def allowed(self) -> str:
        return f"{self.number.allowed}, or up to {self.max_numbers} of them separated by commas"

    @property
    def schema(self) -> JsonSchema:
        return {
            "type": ["string", "number", "array"],
            "items": self.number.schema,
            "maxItems": self.max_numbers,
        }

    def __call__(self, value: object) -> tuple[float, ...]:
        value = list_in(value)
        parts = value.split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, list) else [parts]
        if not 1 <= len(parts) <= self.max_numbers:
            raise BadValue(f"must be {self.allowed}, not {len(parts)}")
        try:
            return tuple(self.number(part) for part in parts)
        except BadValue:
            raise refuse(self, value) from None
