"""Reads words of closed lists, pictures, and flags that may be figures. Knows no field by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from apps.api.modelslab.readers import NO, YES, list_in, refuse
from apps.api.readers import BadValue, JsonSchema
from apps.generation.pictures import (
    BadPicture,
    BytesSource,
    PictureSource,
    UploadSource,
    UrlSource,
    read_source,
)

SOURCES: Final = (UrlSource, BytesSource, UploadSource)
PLAIN_FACTORS: Final = {"1": 1, "2": 2, "3": 3, "4": 4, "8": 8}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One word of a list, in any case."""

    words: Mapping[str, object]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.words)

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "enum": list(self.words)}

    def __call__(self, value: object) -> object:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in self.words:
            raise refuse(self, value)
        return self.words[word]


@dataclass(frozen=True, slots=True)
class Picture:
    """Where a picture is to be had; nothing is fetched yet. A list of one counts as the one."""

    allowed: str = "an http or https address, a data URL or base64 of one picture"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "minLength": 1}

    def __call__(self, value: object) -> PictureSource:
        value = list_in(value)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, list):
            raise BadValue(f"must be {self.allowed}, not a list of {len(value)}")
        return _source(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The same of one picture or of several in a list; empty places of the list do not count."""

    most: int

    @property
    def allowed(self) -> str:
        return f"one picture, or a list of at most {self.most}: addresses, data URLs or base64"

    @property
    def schema(self) -> JsonSchema:
        return {"type": ["string", "array"], "items": {"type": "string"}, "maxItems": self.most}

    def __call__(self, value: object) -> tuple[PictureSource, ...]:
        value = list_in(value)
        given = [each for each in value if each] if isinstance(value, list) else [value]
        if not 1 <= len(given) <= self.most:
            raise BadValue(f"must be {self.allowed}, not {len(given)}")
        return tuple(_source(each) for each in given)


def _source(value: object) -> PictureSource:
    try:
        return read_source(value)
    except BadPicture as error:
        raise BadValue(str(error)) from None


@dataclass(frozen=True, slots=True)
class Enlargement:
    """`upscale`: a flag, where yes is twice, or the factor itself; 1 is no enlargement."""

    allowed: str = "yes (twice), no, or 1, 2, 3, 4 or 8"

    @property
    def schema(self) -> JsonSchema:
        return {"type": ["string", "integer", "boolean"]}

    def __call__(self, value: object) -> int:
        if isinstance(value, bool):
            return 2 if value else 1
        word = str(value).strip().lower().removesuffix(".0") if isinstance(value, str | int | float) else ""
        if word in PLAIN_FACTORS:
            return PLAIN_FACTORS[word]
        if word in YES:
            return 2
        if word in NO or word in ("none", "null"):
            return 1
        raise refuse(self, value)
