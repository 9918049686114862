"""Reads values of the native API strictly: JSON types as they are, no looser spellings.

Numbers, flags and words are those of `apps.api.readers`; readers of lists and objects are in `tables`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apps.api import readers
from apps.api.readers import BadValue, JsonSchema, Spelling, refuse, storable
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_sources import PictureSource, UploadSource, read_source
from apps.generation.picture_store import DIGEST

MAX_RATIO: Final = 10_000
MAX_TRACK_INT: Final = 2**63 - 1
MAX_TRACK_CHARS: Final = 255
SPELLING: Final = Spelling(counts_characters=False)


class Text(readers.Text):
    """Text that UTF-8 and PostgreSQL can hold; one that is too long is told by how it begins."""

    __slots__ = ()
    spelling = SPELLING


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
            return storable(value)
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
