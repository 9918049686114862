"""Reads values of the native API strictly: JSON types as they are, no looser spellings.

Every reader says what it takes: `allowed` for refusals, `schema` (JSON Schema) for documentation. Readers of
lists and objects are in `tables`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from apps.core.errors import InvalidField
from apps.generation.field_rules import require_storable
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_sources import PictureSource, UploadSource, read_source
from apps.generation.picture_store import DIGEST

JsonSchema = dict[str, object]
Path = tuple[str | int, ...]

SHOWN_CHARS: Final = 40
MAX_RATIO: Final = 10_000
MAX_TRACK_INT: Final = 2**63 - 1
MAX_TRACK_CHARS: Final = 255


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


def shown(value: object) -> str:
    """A value as a message may show it: short, one line, ASCII."""
    match value:
        case bytes():
            return "a file"
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
    """A whole number in a range; `512.0` is one as well."""

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
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        # bool is an int to Python, never to a client.
        if not isinstance(number, int) or isinstance(number, bool):
            raise refuse(self, value)
        if not self.lowest <= number <= self.highest or number % self.multiple_of:
            raise refuse(self, value)
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A finite number in a range."""

    lowest: float
    highest: float

    @property
    def allowed(self) -> str:
        return f"a number from {self.lowest:g} to {self.highest:g}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "number", "minimum": self.lowest, "maximum": self.highest}

    def __call__(self, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise refuse(self, value)
        # NaN compares false with everything, so this refuses it as well.
        if not self.lowest <= value <= self.highest:
            raise refuse(self, value)
        return float(value)


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
        if not isinstance(value, str) or len(value) > self.max_chars:
            raise refuse(self, value)
        return _storable(value)


def _storable(text: str) -> str:
    try:
        require_storable("", text)
    except InvalidField as error:
        raise BadValue(error.problem) from None
    return text


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    allowed: str = "true or false"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "boolean"}

    def __call__(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise refuse(self, value)
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a closed list."""

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


@dataclass(frozen=True, slots=True)
class Ratio:
    """Width to height, such as 16:9."""

    allowed: str = "width to height such as 16:9"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": "^[1-9][0-9]{0,3}:[1-9][0-9]{0,3}$"}

    def __call__(self, value: object) -> tuple[int, int]:
        wide, colon, high = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not colon or not all(_is_side(side) for side in (wide, high)):
            raise refuse(self, value)
        return int(wide), int(high)


def _is_side(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 5 and 0 < int(text) < MAX_RATIO


@dataclass(frozen=True, slots=True)
class TrackId:
    """A mark of the caller's own, kept as it is."""

    allowed: str = f"text of at most {MAX_TRACK_CHARS} characters or a whole number"

    @property
    def schema(self) -> JsonSchema:
        return {"type": ["string", "integer"], "maxLength": MAX_TRACK_CHARS}

    def __call__(self, value: object) -> str | int:
        if isinstance(value, str) and len(value) <= MAX_TRACK_CHARS:
            return _storable(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_TRACK_INT:
            return value
        raise refuse(self, value)


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a picture is to be had; nothing is fetched yet."""

    allowed: str = "an http or https address, a data URL, base64, the id of an upload, or part:NAME in a form"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "minLength": 1, "contentMediaType": "image/*"}

    def __call__(self, value: object) -> PictureSource:
        # 64 hexadecimal digits are base64 as well, of 48 bytes, which are no picture.
        if isinstance(value, str) and DIGEST.fullmatch(value):
            return UploadSource(value)
        if not isinstance(value, str | bytes):
            raise refuse(self, value)
        try:
            return read_source(value)
        except BadPicture as error:
            raise BadValue(str(error)) from None
