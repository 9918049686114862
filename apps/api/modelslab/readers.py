"""Reads the loose spellings of the ModelsLab dialect: numbers as text, flags as words, nothing as "".

Tolerant of spelling, strict about meaning: what is not plainly a value of the kind is a BadValue that says
what was seen and what is allowed. Knows no field by name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

Reader = Callable[[object], object]
"""From a JSON value that is set to ours. Raises BadValue."""

SHOWN_CHARS = 40
WHOLE_TEXT = re.compile(r"[+-]?[0-9]{1,20}(\.0{0,20})?")
NUMBER_TEXT = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?")
RATIO_TEXT = re.compile(r"\s*([0-9]{1,5})\s*[:/]\s*([0-9]{1,5})\s*")
SIZE_TEXT = re.compile(r"\s*([0-9]{1,5})\s*[xX×*]\s*([0-9]{1,5})\s*")

YES = frozenset({"yes", "true", "1", "on"})
NO = frozenset({"no", "false", "0", "off"})
RANDOM_SEED = -1
# What every JSON reader carries; PostgreSQL's own integers end there as well.
MAX_TRACK_INT = 2**63 - 1
MAX_TRACK_CHARS = 255


class BadValue(ValueError):
    """The value cannot be read; the text continues a sentence that starts with the field's name."""


def is_unset(value: object) -> bool:
    """Whether the client left the field open: absent, null and "" are one."""
    return value is None or value == ""


def shown(value: object) -> str:
    """A value as a message may show it: short, one line, ASCII."""
    if isinstance(value, str):
        return json.dumps(value[:SHOWN_CHARS]) + ("..." if len(value) > SHOWN_CHARS else "")
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    text = json.dumps(value)
    return text[:SHOWN_CHARS] + ("..." if len(text) > SHOWN_CHARS else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number in a range; `512`, `"512"` and `512.0` are the same, `512.5` and `true` are not."""

    lowest: int
    highest: int
    multiple_of: int = 1

    @property
    def allowed(self) -> str:
        step = f" and a multiple of {self.multiple_of}" if self.multiple_of > 1 else ""
        return f"a whole number from {self.lowest} to {self.highest}{step}"

    def __call__(self, value: object) -> int:
        number = _whole(value)
        if number is None or not self.lowest <= number <= self.highest or number % self.multiple_of:
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A finite number in a range, as a number or as text."""

    lowest: float
    highest: float

    @property
    def allowed(self) -> str:
        return f"a number from {self.lowest:g} to {self.highest:g}"

    def __call__(self, value: object) -> float:
        number = _number(value)
        # NaN compares false with everything, so this refuses it as well.
        if number is None or not self.lowest <= number <= self.highest:
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text that UTF-8 and PostgreSQL can hold."""

    max_chars: int

    @property
    def allowed(self) -> str:
        return f"text of at most {self.max_chars} characters"

    def __call__(self, value: object) -> str:
        if not isinstance(value, str):
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        if len(value) > self.max_chars:
            raise BadValue(f"must be {self.allowed}, not {len(value)}")
        return _storable(value)


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no in any spelling."""

    allowed: str = "yes or no (also true, false, 1, 0)"

    def __call__(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, str | int) else ""
        if word in YES:
            return True
        if word in NO:
            return False
        raise BadValue(f"must be {self.allowed}, not {shown(value)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A seed; -1 is "draw one", which is None here, and 0 as well where an endpoint says so."""

    highest: int
    is_zero_random: bool = False

    @property
    def allowed(self) -> str:
        random = "-1 or 0" if self.is_zero_random else "-1"
        return f"a whole number from 0 to {self.highest}, or {random} for a random one"

    def __call__(self, value: object) -> int | None:
        number = _whole(value)
        if number == RANDOM_SEED or (self.is_zero_random and number == 0):
            return None
        if number is None or not 0 <= number <= self.highest:
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        return number


@dataclass(frozen=True, slots=True)
class Track:
    """The caller's own mark, kept with its type because it is echoed as given."""

    allowed: str = f"text of at most {MAX_TRACK_CHARS} characters or a whole number of 64 bits"

    def __call__(self, value: object) -> str | int:
        if isinstance(value, str) and len(value) <= MAX_TRACK_CHARS:
            return _storable(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_TRACK_INT:
            return value
        raise BadValue(f"must be {self.allowed}, not {shown(value)}")


@dataclass(frozen=True, slots=True)
class Ratio:
    """Width to height, e.g. `16:9` or `1920:1080`."""

    allowed: str = 'width:height, such as "16:9"'

    def __call__(self, value: object) -> tuple[int, int]:
        match = RATIO_TEXT.fullmatch(value) if isinstance(value, str) else None
        wide, high = (int(match[1]), int(match[2])) if match else (0, 0)
        if not (wide and high):
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        return wide, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Both sides in one text, e.g. `1024x768`."""

    side: Whole

    @property
    def allowed(self) -> str:
        return f'"WIDTHxHEIGHT", each {self.side.allowed}'

    def __call__(self, value: object) -> tuple[int, int]:
        match = SIZE_TEXT.fullmatch(value) if isinstance(value, str) else None
        try:
            sides = (self.side(match[1]), self.side(match[2])) if match else None
        except BadValue:
            sides = None
        if sides is None:
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        return sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """One name or several, separated by commas, or a list of names."""

    max_names: int
    max_chars: int

    @property
    def allowed(self) -> str:
        return f"1 to {self.max_names} names, separated by commas"

    def __call__(self, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        names = [_storable(part.strip()) for part in parts if part.strip()]
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

    def __call__(self, value: object) -> tuple[float, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, list) else [parts]
        if not 1 <= len(parts) <= self.max_numbers:
            raise BadValue(f"must be {self.allowed}, not {len(parts)}")
        try:
            return tuple(self.number(part) for part in parts)
        except BadValue:
            raise BadValue(f"must be {self.allowed}, not {shown(value)}") from None


def _whole(value: object) -> int | None:
    # bool is an int to Python, never to a client.
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and WHOLE_TEXT.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        return float(text) if NUMBER_TEXT.fullmatch(text) else None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def _storable(value: str) -> str:
    if "\0" in value:
        raise BadValue("must not contain the character NUL (U+0000)")
    try:
        value.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, written as \ud800: no encoding has it.
        raise BadValue("must not contain half of a surrogate pair") from None
    return value
