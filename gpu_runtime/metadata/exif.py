"""EXIF of JPEG and WebP files: the text about an image as a user comment, as AUTOMATIC1111 writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from PIL import Image
from PIL.ExifTags import IFD

USER_COMMENT: Final = 0x9286
DESCRIPTION: Final = 0x010E
MAKE: Final = 0x010F
MODEL: Final = 0x0110
"""ComfyUI keeps its graph in these two and in the tags below them, as "prompt:{...}"."""

UNICODE: Final = b"UNICODE\0"
ASCII: Final = b"ASCII\0\0\0"
UTF8_PREFIXES: Final = (ASCII, b"\0" * 8)

MOST_BYTES: Final = 65_500
"""Of a JPEG segment, less a few."""


def with_comment(text: str) -> bytes:
    """An EXIF block whose user comment is `text`; b"" when it does not fit, or when there is no text."""
    if not text:
        return b""
    exif = Image.Exif()
    # Some readers take the text for big-endian, others for what the block is.
    exif.endian = ">"
    exif.get_ifd(IFD.Exif)[USER_COMMENT] = UNICODE + text.encode("utf-16-be", errors="replace")
    block = exif.tobytes()
    return block if len(block) <= MOST_BYTES else b""


def comment_of(exif: Image.Exif) -> str:
    """The user comment of a block, or its description; "" without."""
    comment = exif.get_ifd(IFD.Exif).get(USER_COMMENT)
    return _comment(comment) or _as_text(exif.get(DESCRIPTION))


def labelled(exif: Image.Exif) -> Mapping[str, str]:
    """Texts of the form "name:text" in make, model and the tags below: by name."""
    found: dict[str, str] = {}
    for tag, value in exif.items():
        name, colon, text = _as_text(value).partition(":")
        if MAKE - 16 <= tag <= MODEL and colon:
            found.setdefault(name.strip().lower(), text)
    return found


def _comment(value: Any) -> str:
    """EXIF values are of any type."""
    if not isinstance(value, bytes):
        return _as_text(value)
    if value.startswith(UNICODE):
        return _utf16(value[len(UNICODE) :])
    for prefix in UTF8_PREFIXES:
        value = value.removeprefix(prefix)
    return _as_text(value)


def _utf16(data: bytes) -> str:
    """Of either byte order, which nothing states: most characters of these texts have a zero byte."""
    little = data[1::2].count(0) > data[::2].count(0)
    text = data.decode("utf-16-le" if little else "utf-16-be", errors="replace")
    return text.lstrip("\ufeff").rstrip("\0")


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return value.rstrip("\0") if isinstance(value, str) else ""
