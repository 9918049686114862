"""What a picture's first bytes say: its type, its sides, and what of it is safe to hand to a decoder.

Nothing is decoded here. Every length is read with bounds: the bytes come from strangers.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_PIXELS: Final = 16_800_000
MAX_SIDE_PX: Final = 16_384
# A progressive JPEG has about ten scans. Each makes a decoder go over the whole picture again.
MAX_SCANS: Final = 100
# Colour profiles of printers come to a few megabytes.
MAX_PROFILE_BYTES: Final = 4_000_000

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PNG_KEPT: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf", b"iCCP", b"sRGB"})
"""Chunks that say what the pixels are. Texts, which may unpack to anything, and further frames are not among
them."""


class BadPicture(Exception):
    """A picture that cannot be used. The text ends a sentence that begins with the field's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header says."""

    format: str
    """Pillow's name: PNG, JPEG, WEBP or GIF."""
    width: int
    """Pixels, as stored: before EXIF turns it."""
    height: int


STRANGERS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"II+\0", "a TIFF file"),
    (b"BM", "a BMP file"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon file"),
    (b"%PDF", "a PDF file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"\x1f\x8b", "a compressed file"),
    (b"PK\x03\x04", "a ZIP file"),
    (b"qoif", "a QOI file"),
    (b"#?RADIANCE", "an HDR file"),
)
"""First bytes of what people send instead."""
_HEIF_BRANDS: Final[Mapping[bytes, str]] = {b"avif": "an AVIF file", b"avis": "an AVIF file"}
_MARKUP: Final = re.compile(rb"\s*(<\?xml|<!--|<!doctype|<html|<svg|<head|<body|\{|\[)", re.IGNORECASE)
ALLOWED: Final = "send PNG, JPEG, WebP or GIF"


def read_header(data: bytes) -> Header:
    """Raises BadPicture for another type, a damaged header, and more pixels than are taken."""
    if not data:
        raise BadPicture("is empty")
    for begins, read in _READERS:
        if begins(data):
            header = read(data)
            break
    else:
        raise BadPicture(f"is {_what_it_is(data)}, which is not taken: {ALLOWED}")
    require_size(header.width, header.height)
    return header


def require_size(width: int, height: int) -> None:
    """Raises BadPicture beyond the limits; decoders may find another size than the header's."""
    if width < 1 or height < 1:
        raise BadPicture(f"has no pixels: it says {width} x {height}")
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS / 1e6:.1f} million"
        raise BadPicture(f"has {width} x {height} pixels; at most {limit} are taken")
    if max(width, height) > MAX_SIDE_PX:
        raise BadPicture(f"has {width} x {height} pixels; at most {MAX_SIDE_PX} a side are taken")


def _what_it_is(data: bytes) -> str:
    for begin, name in STRANGERS:
        if data.startswith(begin):
            return name
    if data[4:8] == b"ftyp":
        return _HEIF_BRANDS.get(data[8:12], "a HEIC or video file")
    match = _MARKUP.match(data[:512])
    if match is None:
        return "no picture, or of an unknown type"
    word = match[1].lower()
    if b"<svg" in data[:4096].lower():
        return "an SVG drawing"
    return "JSON" if word in (b"{", b"[") else "a web page or other markup"


def _damaged(name: str) -> BadPicture:
    return BadPicture(f"is a damaged {name}: its header cannot be read")


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise _damaged("PNG")
    return Header(
        format="PNG", width=int.from_bytes(data[16:20], "big"), height=int.from_bytes(data[20:24], "big")
    )


def _jpeg(data: bytes) -> Header:
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise BadPicture(f"is a JPEG of more than {MAX_SCANS} scans, which is not taken")
    for marker, at in _jpeg_segments(data):
        # Every SOF but DHT, JPG and DAC, which share the range.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if at + 9 > len(data):
                break
            height, width = (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
            return Header(format="JPEG", width=width, height=height)
    raise _damaged("JPEG")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Markers up to the first scan, and where each one's length stands minus two."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            return
        yield marker, at
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if len(data) < 30:
        raise _damaged("WebP")
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        raise _damaged("WebP")
    return Header(format="WEBP", width=width, height=height)


def _gif(data: bytes) -> Header:
    if len(data) < 13:
        raise _damaged("GIF")
    return Header(
        format="GIF", width=int.from_bytes(data[6:8], "little"), height=int.from_bytes(data[8:10], "little")
    )


_READERS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Header]], ...]] = (
    (lambda data: data.startswith(PNG_SIGNATURE), _png),
    (lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    (lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", _webp),
    (lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif),
)


def without_ballast(data: bytes, header: Header) -> bytes:
    """The part of the file that decoders need. Raises BadPicture for a PNG whose chunks are broken."""
    return _png_pixels(data) if header.format == "PNG" else data


def _png_pixels(data: bytes) -> bytes:
    kept = [PNG_SIGNATURE]
    for name, chunk in _png_chunks(data):
        if name not in PNG_KEPT or (name == b"iCCP" and not _is_modest_profile(chunk[8:-4])):
            continue
        kept.append(chunk)
        if name == b"IEND":
            return b"".join(kept)
    raise BadPicture("is a damaged PNG: it is cut off")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and whole chunks. Raises BadPicture where one does not fit or its checksum is wrong."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            raise BadPicture("is a damaged PNG: it is cut off")
        chunk = data[at:end]
        # Of what is thrown away it does not matter.
        if name in PNG_KEPT and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            title = name.decode("ascii", "replace")
            raise BadPicture(f"is a damaged PNG: the checksum of its part {title} is wrong")
        yield name, chunk
        at = end


def _is_modest_profile(content: bytes) -> bool:
    """Whether a compressed colour profile stays small when it is unpacked."""
    _, _, rest = content.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail
