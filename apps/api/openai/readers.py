"""Reads single values of the OpenAI dialect: as JSON has them, or as the text that a form makes of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from apps.api import readers
from apps.api.readers import BadValue, JsonSchema, Spelling, Text, refuse
from apps.core.errors import InvalidField
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_sources import PictureSource, read_source
from apps.generation.wishes import MAX_LORA_SCALE, LoraWish

SIZE_TEXT: Final = re.compile(r"([0-9]{2,5})x([0-9]{2,5})")
AUTO: Final = "auto"
SPELLING: Final = Spelling(
    whole_text=re.compile(r"-?[0-9]{1,20}"),
    number_text=re.compile(r"-?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})"),
    yes=frozenset({"true"}),
    no=frozenset({"false"}),
)


class Whole(readers.Whole):
    """A whole number in a range."""

    __slots__ = ()
    spelling = SPELLING


class Number(readers.Number):
    """A finite number in a range."""

    __slots__ = ()
    spelling = SPELLING


class Flag(readers.Flag):
    """true or false."""

    __slots__ = ()
    spelling = SPELLING


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
