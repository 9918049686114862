"""Reads single values of the OpenAI dialect: as JSON has them, or as the text that a form makes of them.

Every reader says what it takes: `allowed` for refusals, `schema` (JSON Schema) for documentation.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from apps.core.errors import InvalidField
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_sources import PictureSource, read_source
from apps.generation.wishes import MAX_LORA_SCALE, LoraWish

JsonSchema = dict[str, object]

SHOWN_CHARS = 40
WHOLE_TEXT = re.compile(r"-?[0-9]{1,20}")
NUMBER_TEXT = re.compile(r"-?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})")
SIZE_TEXT = re.compile(r"([0-9]{2,5})x([0-9]{2,5})")
AUTO: Final = "auto"


class BadValue(ValueError):
    """The text continues a sentence that begins with the field's name."""


class Reader(Protocol):
    """From a value that is set to ours. Raises BadValue."""

    @property
    def allowed(self) -> str: ...

    @property
    def schema(self) -> JsonSchema: ...

    def __call__(self, value: object) -> object: ...


def is_unset(value: object) -> bool:
    """Whether the field was left open: absent and null are one, and a form writes null as nothing."""
    return value is None or value == ""


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
    """A whole number in a range."""

    lowest: int
    highest: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.lowest, "maximum": self.highest}

    def __call__(self, value: object) -> int:
        number = int(value) if isinstance(value, str) and WHOLE_TEXT.fullmatch(value) else value
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        # bool is an int to Python, never to a client.
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
        return f"a number from {self.lowest:g} to {self.highest:g}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "number", "minimum": self.lowest, "maximum": self.highest}

    def __call__(self, value: object) -> float:
        number = float(value) if isinstance(value, str) and NUMBER_TEXT.fullmatch(value) else value
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise refuse(self, value)
        # NaN compares false with everything, so this refuses it as well.
        if not self.lowest <= number <= self.highest:
            raise refuse(self, value)
        return float(number)


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
    """true or false."""

    allowed: str = "true or false"
    schema: JsonSchema = field(default_factory=lambda: {"type": "boolean"})

    def __call__(self, value: object) -> bool:
        word = value.strip().lower() if isinstance(value, str) else value
        if word is True or word == "true":
            return True
        if word is False or word == "false":
            return False
        raise refuse(self, value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.words)}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "enum": list(self.words)}

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise refuse(self, value)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`1536x1024`, or `auto`, which is None here."""

    lowest: int
    highest: int
    multiple_of: int

    @property
    def allowed(self) -> str:
        sides = f"each {self.lowest} to {self.highest} and a multiple of {self.multiple_of}"
        return f"auto or WIDTHxHEIGHT, {sides}"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": f"^(auto|{SIZE_TEXT.pattern})$"}

    def __call__(self, value: object) -> tuple[int, int] | None:
        if value == AUTO:
            return None
        match = SIZE_TEXT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise refuse(self, value)
        width, height = int(match[1]), int(match[2])
        for side in (width, height):
            if not self.lowest <= side <= self.highest or side % self.multiple_of:
                raise refuse(self, value)
        return width, height


@dataclass(frozen=True, slots=True, kw_only=True)
class Loras:
    """`["ink"]`, `[{"name": "ink", "scale": 0.8}]`, `{"ink": 0.8}` or `"ink:0.8, film"`."""

    most: int
    max_chars: int = 200

    @property
    def allowed(self) -> str:
        example = '[{"name": "ink", "scale": 0.8}]'
        return f"up to {self.most} LoRAs, as {example} or as text, ink:0.8,film"

    @property
    def schema(self) -> JsonSchema:
        number: JsonSchema = {"type": "number", "minimum": -MAX_LORA_SCALE, "maximum": MAX_LORA_SCALE}
        properties: JsonSchema = {"name": {"type": "string"}, "scale": number}
        named: JsonSchema = {"type": "object", "properties": properties, "required": ["name"]}
        item: JsonSchema = {"anyOf": [{"type": "string"}, named]}
        listed: JsonSchema = {"type": "array", "maxItems": self.most, "items": item}
        by_name: JsonSchema = {"type": "object", "additionalProperties": number}
        return {"anyOf": [listed, by_name, {"type": "string"}]}

    def __call__(self, value: object) -> tuple[LoraWish, ...]:
        match value:
            case dict():
                found = [self._wish(name, scale) for name, scale in value.items()]
            case list():
                found = [self._item(item) for item in value]
            case str():
                found = [self._item(word) for word in value.split(",") if word.strip()]
            case _:
                raise refuse(self, value)
        if len(found) > self.most:
            raise BadValue(f"must be {self.allowed}, not {len(found)}")
        return tuple(found)

    def _item(self, item: object) -> LoraWish:
        if isinstance(item, str):
            name, colon, scale = item.rpartition(":")
            return self._wish(name.strip(), scale.strip()) if colon else self._wish(item.strip(), 1.0)
        if isinstance(item, dict) and set(item) <= {"name", "scale"}:
            return self._wish(item.get("name"), item.get("scale", 1.0))
        raise refuse(self, item)

    def _wish(self, name: object, scale: object) -> LoraWish:
        text = Text(max_chars=self.max_chars)(name)
        strength = Number(lowest=-MAX_LORA_SCALE, highest=MAX_LORA_SCALE)(scale)
        try:
            return LoraWish(name=text, scale=strength)
        except InvalidField:
            raise refuse(self, name) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Files of a form; in JSON an address, a data URL or base64, also as `{"image_url": ...}`."""

    most: int

    @property
    def allowed(self) -> str:
        return "a picture" if self.most == 1 else f"1 to {self.most} pictures"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "format": "binary"}

    def __call__(self, value: object) -> tuple[PictureSource, ...]:
        if isinstance(value, dict) and "image_url" not in value:
            # image[0], image[1] ... in a form.
            value = list(value.values())
        items = value if isinstance(value, list) else [value]
        if not 1 <= len(items) <= self.most:
            raise BadValue(f"must be {self.allowed}, not {len(items)}")
        return tuple(_source(item) for item in items)


def _source(item: object) -> PictureSource:
    if isinstance(item, dict):
        item = item.get("image_url")
        if isinstance(item, dict):
            item = item.get("url")
    try:
        return read_source(item)
    except BadPicture as error:
        raise BadValue(str(error)) from None
