"""Reads single values as pydantic does for stable-diffusion-webui: loosely, numbers in text included.

Every reader says what it takes: `allowed` for refusals, `schema` (JSON Schema) for documentation.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Final, Protocol

JsonSchema = dict[str, object]

SHOWN_CHARS: Final = 40
WHOLE_TEXT: Final = re.compile(r"\s*[+-]?[0-9]{1,20}\s*")
NUMBER_TEXT: Final = re.compile(r"\s*[+-]?([0-9]{1,20}\.?|[0-9]{0,20}\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?\s*")
YES: Final = frozenset({"true", "1", "yes", "on", "t", "y"})
NO: Final = frozenset({"false", "0", "no", "off", "f", "n"})


class BadValue(ValueError):
    """The text continues a sentence that begins with the field's name."""


class Reader(Protocol):
    """From a value that is set to ours. Raises BadValue."""

    @property
    def allowed(self) -> str: ...

    @property
    def schema(self) -> JsonSchema: ...

    def __call__(self, value: object) -> object: ...


def shown(value: object) -> str:
    """A value as a message may show it: short, one line, ASCII."""
    match value:
        case list():
            return "a list"
        case dict():
            return "an object"
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


def refuse(reader: Reader, value: object) -> BadValue:
    """What is allowed, and what was seen instead."""
    return BadValue(f"must be {reader.allowed}, not {shown(value)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number in a range; fractions are cut off, as pydantic does."""

    lowest: int
    highest: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.lowest, "maximum": self.highest}

    def __call__(self, value: object) -> int:
        number = Number(lowest=-math.inf, highest=math.inf)(value) if isinstance(value, float) else value
        if isinstance(number, str) and WHOLE_TEXT.fullmatch(number):
            number = int(number)
        if isinstance(number, float):
            number = int(number)
        # bool is an int to Python, and to pydantic as well; a client that sends one for steps means neither.
        if not isinstance(number, int) or isinstance(number, bool):
            raise refuse(self, value)
        if not self.lowest <= number <= self.highest:
            raise refuse(self, value)
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A finite number in a range."""

    lowest: float
    highest: float

    @property
    def allowed(self) -> str:
        if math.isinf(self.highest):
            return "a number"
        return f"a number from {self.lowest:g} to {self.highest:g}"

    @property
    def schema(self) -> JsonSchema:
        if math.isinf(self.highest):
            return {"type": "number"}
        return {"type": "number", "minimum": self.lowest, "maximum": self.highest}

    def __call__(self, value: object) -> float:
        if isinstance(value, str) and NUMBER_TEXT.fullmatch(value):
            value = float(value)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise refuse(self, value)
        # An integer of thousands of digits has no float; NaN compares false with everything.
        if abs(value) > 1e30 or not self.lowest <= value <= self.highest or math.isnan(value):
            raise refuse(self, value)
        return float(value)


ANY_NUMBER: Final = Number(lowest=-math.inf, highest=math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text that UTF-8 and PostgreSQL can hold."""

    max_chars: int

    @property
    def allowed(self) -> str:
        return f"text of at most {self.max_chars} characters"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "maxLength": self.max_chars}

    def __call__(self, value: object) -> str:
        if not isinstance(value, str):
            raise refuse(self, value)
        if len(value) > self.max_chars:
            raise BadValue(f"must be {self.allowed}, not {len(value)}")
        if "\0" in value:
            raise BadValue("must not contain the character NUL (U+0000)")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise BadValue("must not contain half of a surrogate pair")
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false, in the many spellings that pydantic takes."""

    allowed: str = "true or false"
    schema: JsonSchema = field(default_factory=lambda: {"type": "boolean"})

    def __call__(self, value: object) -> bool:
        word = str(value).strip().lower() if isinstance(value, str | int | float) else ""
        if word in YES or word == "1.0":
            return True
        if word in NO or word == "0.0":
            return False
        raise refuse(self, value)


@dataclass(frozen=True, slots=True)
class Named:
    """One of a few numbers that have names as well: 0, or "Just Resize", in any case."""

    names: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(f"{number} ({name})" for number, name in enumerate(self.names))

    @property
    def schema(self) -> JsonSchema:
        return {"enum": [*range(len(self.names)), *self.names]}

    def __call__(self, value: object) -> int:
        folded = [name.casefold() for name in self.names]
        if isinstance(value, str) and value.strip().casefold() in folded:
            return folded.index(value.strip().casefold())
        try:
            return Whole(lowest=0, highest=len(self.names) - 1)(value)
        except BadValue:
            raise refuse(self, value) from None


def require_json(value: object) -> None:
    """Python reads NaN and infinities, which no JSON has: they could not be echoed. Raises BadValue."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise BadValue("must not contain NaN or infinities") from None


@dataclass(frozen=True, slots=True)
class Object:
    """A JSON object."""

    allowed: str = "an object"
    schema: JsonSchema = field(default_factory=lambda: {"type": "object"})

    def __call__(self, value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise refuse(self, value)
        require_json(value)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list, of any values."""

    most: int

    @property
    def allowed(self) -> str:
        return f"a list of at most {self.most}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "array", "maxItems": self.most}

    def __call__(self, value: object) -> list[object]:
        if not isinstance(value, list) or len(value) > self.most:
            raise refuse(self, value)
        require_json(value)
        return value


@dataclass(frozen=True, slots=True)
class Picture:
    """Base64 with or without `data:image/...;base64,` before it, or an address. Decoded later."""

    allowed: str = "a picture as base64"
    schema: JsonSchema = field(default_factory=lambda: {"type": "string", "format": "base64"})

    def __call__(self, value: object) -> str:
        if not isinstance(value, str):
            raise refuse(self, value)
        return value
