"""Reads single values as pydantic does for stable-diffusion-webui: loosely, numbers in text included."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Final

from apps.api import readers
from apps.api.readers import BadValue, JsonSchema, Spelling, refuse

YES: Final = frozenset({"true", "1", "yes", "on", "t", "y"})
NO: Final = frozenset({"false", "0", "no", "off", "f", "n"})
SPELLING: Final = Spelling(
    whole_text=re.compile(r"\s*[+-]?[0-9]{1,20}\s*"),
    number_text=re.compile(r"\s*[+-]?([0-9]{1,20}\.?|[0-9]{0,20}\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?\s*"),
    yes=YES | {"1.0"},
    no=NO | {"0.0"},
    cuts_fractions=True,
)


class Whole(readers.Whole):
    """A whole number in a range; fractions are cut off."""

    __slots__ = ()
    spelling = SPELLING


class Number(readers.Number):
    """A finite number in a range."""

    __slots__ = ()
    spelling = SPELLING


ANY_NUMBER: Final = Number(lowest=-math.inf, highest=math.inf)


class Flag(readers.Flag):
    """true or false, in the many spellings that pydantic takes."""

    __slots__ = ()
    spelling = SPELLING


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
