"""Text chunks of PNG files: written beside what fpng encodes, read from files of anybody. No Pillow."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
HEADER_END: Final = len(SIGNATURE) + 25
"""After IHDR, which comes first and has one size."""

MOST_TEXT_BYTES: Final = 8 << 20
"""Of all texts of a file, unpacked: a ComfyUI graph has 100 kB; small chunks may unpack to any size."""

MOST_CHUNKS: Final = 10_000
GREY, RGB, RGBA = 0, 2, 6
"""Colour types of the header."""

TEXT_CHUNKS: Final = (b"tEXt", b"zTXt", b"iTXt")


def text_chunk(keyword: str, text: str) -> bytes:
    """tEXt, or iTXt for text beyond Latin-1, uncompressed, as AUTOMATIC1111 writes it.

    Raises ValueError for a keyword that is not 1 to 79 characters of Latin-1. NUL, which neither chunk can
    hold, is left out.
    """
    key = _keyword(keyword)
    text = text.replace("\0", "")
    try:
        return chunk(b"tEXt", key + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return international_chunk(keyword, text.encode("utf-8", errors="replace"))


def international_chunk(keyword: str, text: bytes) -> bytes:
    """iTXt of UTF-8, uncompressed, without a language."""
    return chunk(b"iTXt", _keyword(keyword) + b"\0\0\0\0\0" + text)


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk with its length and checksum."""
    checksum = zlib.crc32(data, zlib.crc32(name))
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def with_chunks(data: bytes, chunks: Iterable[bytes]) -> bytes:
    """The file with chunks after its header, where readers that stop at the pixels find them."""
    added = b"".join(chunks)
    return b"".join((data[:HEADER_END], added, data[HEADER_END:])) if added else data


def file_of_rows(bands: Iterable[bytes], *, width: int, height: int, colour_type: int) -> bytes:
    """A PNG of 8 bits a channel from its filtered rows, a filter byte and the pixels each, some at a time.

    `colour_type` is GREY, RGB or RGBA. Other threads run while it is packed.
    """
    # Runs and frequencies only: on filtered photographs four times as fast as looking for repetitions, for
    # files that are smaller, if anything.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    packed = [packer.compress(band) for band in bands]
    packed.append(packer.flush())
    parts = [chunk(b"IDAT", part) for part in packed if part]
    return b"".join((SIGNATURE, chunk(b"IHDR", header), *parts, chunk(b"IEND", b"")))


def read_texts(data: bytes) -> dict[str, str]:
    """Texts of a PNG file by keyword, wherever they are in it; of equal keywords the first one.

    A damaged or oversized text is passed over, and whatever follows a damaged chunk.
    """
    found: dict[str, str] = {}
    left = MOST_TEXT_BYTES
    for name, body in _chunks(data):
        if name in TEXT_CHUNKS and (text := _text(name, body, left)):
            key, value = text
            left -= len(value)
            found.setdefault(key, value)
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(SIGNATURE):
        return
    position = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        if position + 12 > len(data):
            return
        (length,) = struct.unpack_from(">I", data, position)
        name, start = data[position + 4 : position + 8], position + 8
        if start + length + 4 > len(data):
            return
        yield name, data[start : start + length] if name in TEXT_CHUNKS else b""
        position = start + length + 4


def _text(name: bytes, body: bytes, most_bytes: int) -> tuple[str, str] | None:
    """Keyword and text of a chunk; None for a damaged one and for one above `most_bytes`."""
    key, _, rest = body.partition(b"\0")
    if not key:
        return None
    is_packed, encoding = name == b"zTXt", "latin-1"
    if is_packed:
        rest = rest[1:]
    elif name == b"iTXt":
        is_packed, encoding = rest[:1] == b"\1", "utf-8"
        # The language and the translated keyword are of no interest.
        rest = b"".join(rest[2:].split(b"\0", 2)[2:])
    if is_packed:
        unpacked = _unpacked(rest, most_bytes)
        if unpacked is None:
            return None
        rest = unpacked
    if len(rest) > most_bytes:
        return None
    return key.decode("latin-1"), rest.decode(encoding, errors="replace")


def _unpacked(data: bytes, most_bytes: int) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, max(1, most_bytes))
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None


def _keyword(keyword: str) -> bytes:
    try:
        key = keyword.encode("latin-1")
    except UnicodeEncodeError:
        key = b""
    if not 1 <= len(key) <= 79 or b"\0" in key:
        raise ValueError(f"a PNG keyword is 1 to 79 characters of Latin-1, not {keyword!r}")
    return key
