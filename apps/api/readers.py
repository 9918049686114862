"""Reads single values of a request: numbers, text, flags and words of a list, as each dialect spells them.

Every reader says what it takes: `allowed` for refusals, `schema` (JSON Schema, of the plain spelling) for
documentation. A dialect that takes looser spellings derives its readers from these and sets `spelling`.
Knows no field by name.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Protocol

from apps.core.errors import InvalidField
from apps.generation.field_rules import require_storable

JsonSchema = dict[str, object]
Path = tuple[str | int, ...]

SHOWN_CHARS: Final = 40
USUAL_PROMPT_CHARS: Final = 10_000
"""Of a prompt, in dialects that name no limit of their own."""
MOST: Final = 1e30
"""Above any number that means something; integers of thousands of digits have no float."""


class BadValue(ValueError):
    """The text continues a sentence that begins with the field's name; `path` leads on from that field."""

    def __init__(self, problem: str, path: Path = ()) -> None:
        super().__init__(problem)
        self.path = path


class Reader(Protocol):
    """From a value that is set to ours. Raises BadValue."""

    @property
    def allowed(self) -> str: ...

    @property
    def schema(self) -> JsonSchema: ...

    def __call__(self, value: object) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """What a dialect takes beside JSON's own numbers and flags, and how it says what it saw."""

    whole_text: re.Pattern[str] | None = None
    """Text that is a whole number; what stands behind a point in it does not count."""
    number_text: re.Pattern[str] | None = None
    """Text that is a number."""
    yes: frozenset[str] = frozenset()
    no: frozenset[str] = frozenset()
    """Words, in lower case, and numbers as Python writes them."""
    flag: str = "true or false"
    """The same for a message."""
    cuts_fractions: bool = False
    """Whether 512.7 is 512."""
    counts_characters: bool = True
    """Whether a text that is too long is told by its length, else by how it begins."""
    closes_quotes: bool = False
    """Whether a long text is shown as `"abc"...`, else as `"abc...`."""


JSON_ALONE: Final = Spelling()


def is_unset(value: object) -> bool:
    """Whether the caller left the field open, where absent, null and "" are one."""
    return value is None or value == ""


def shown(value: object, spelling: Spelling = JSON_ALONE) -> str:
    """A value as a message may show it: short, one line, ASCII."""
    match value:
        case bytes():
            return "a file"
        case list():
            return "a list"
        case dict():
            return "an object"
        case str() if spelling.closes_quotes:
            return json.dumps(value[:SHOWN_CHARS]) + ("..." if len(value) > SHOWN_CHARS else "")
    text = json.dumps(value)
    return text[:SHOWN_CHARS] + ("..." if len(text) > SHOWN_CHARS else "")


def refuse(reader: Reader, value: object, spelling: Spelling = JSON_ALONE) -> BadValue:
    """What is allowed, and what was seen instead."""
    return BadValue(f"must be {reader.allowed}, not {shown(value, spelling)}")


def storable(text: str) -> str:
    """The text itself. Raises BadValue for what PostgreSQL or UTF-8 cannot hold."""
    try:
        require_storable("", text)
    except InvalidField as error:
        raise BadValue(error.problem) from None
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number in a range; `512.0` is one as well, `true` is not."""

    spelling: ClassVar[Spelling] = JSON_ALONE

    lowest: int
    highest: int
    multiple_of: int = 1

    @property
    def allowed(self) -> str:
        step = f" and a multiple of {self.multiple_of}" if self.multiple_of > 1 else ""
        return f"a whole number from {self.lowest} to {self.highest}{step}"

    @property
    def schema(self) -> JsonSchema:
        step: JsonSchema = {"multipleOf": self.multiple_of} if self.multiple_of > 1 else {}
        return {"type": "integer", "minimum": self.lowest, "maximum": self.highest, **step}

    def __call__(self, value: object) -> int:
        number = whole_of(value, self.spelling)
        if number is None or not self.lowest <= number <= self.highest or number % self.multiple_of:
            raise refuse(self, value, self.spelling)
        return number


def whole_of(value: object, spelling: Spelling) -> int | None:
    """A whole number of any size; None for what is not one."""
    match value:
        # bool is an int to Python, never to a client.
        case bool():
            return None
        case int():
            return value
        case float():
            is_whole = value.is_integer() or (spelling.cuts_fractions and math.isfinite(value))
            return int(value) if is_whole else None
        case str() if spelling.whole_text is not None and spelling.whole_text.fullmatch(value):
            return int(value.strip().partition(".")[0])
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A finite number in a range, which may be open (infinities)."""

    spelling: ClassVar[Spelling] = JSON_ALONE

    lowest: float
    highest: float

    @property
    def allowed(self) -> str:
        return (
            "a number" if math.isinf(self.highest) else f"a number from {self.lowest:g} to {self.highest:g}"
        )

    @property
    def schema(self) -> JsonSchema:
        if math.isinf(self.highest):
            return {"type": "number"}
        return {"type": "number", "minimum": self.lowest, "maximum": self.highest}

    def __call__(self, value: object) -> float:
        number = value
        if (
            isinstance(number, str)
            and self.spelling.number_text
            and self.spelling.number_text.fullmatch(number)
        ):
            number = float(number)
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise refuse(self, value, self.spelling)
        # NaN compares false with everything, so this refuses it as well.
        if not self.lowest <= number <= self.highest or abs(number) > MOST:
            raise refuse(self, value, self.spelling)
        return float(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text that UTF-8 and PostgreSQL can hold."""

    spelling: ClassVar[Spelling] = JSON_ALONE

    max_chars: int

    @property
    def allowed(self) -> str:
        return f"text of at most {self.max_chars} characters"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "maxLength": self.max_chars}

    def __call__(self, value: object) -> str:
        if not isinstance(value, str):
            raise refuse(self, value, self.spelling)
        if len(value) <= self.max_chars:
            return storable(value)
        if self.spelling.counts_characters:
            raise BadValue(f"must be {self.allowed}, not {len(value)}")
        raise refuse(self, value, self.spelling)


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    spelling: ClassVar[Spelling] = JSON_ALONE

    @property
    def allowed(self) -> str:
        return self.spelling.flag

    @property
    def schema(self) -> JsonSchema:
        return {"type": "boolean"}

    def __call__(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, str | int | float) else ""
        if word in self.spelling.yes:
            return True
        if word in self.spelling.no:
            return False
        raise refuse(self, value, self.spelling)


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a closed list; of an enumeration without its member for nothing, ""."""

    words: type[StrEnum] | tuple[str, ...]

    @property
    def _known(self) -> tuple[str, ...]:
        return tuple(str(word) for word in self.words if str(word))

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self._known)

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "enum": list(self._known)}

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or value not in self._known:
            raise refuse(self, value)
        return value if isinstance(self.words, tuple) else self.words(value)
