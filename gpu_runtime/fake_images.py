"""Real image files, quickly made, of colours that depend on prompt and seed alone. Without any library."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePicture:
    """Stands for a picture in the fake runtime: what it would be called and its size, no pixels."""

    words: str
    """Its colours depend on these and the seed."""
    seed: int
    width: int
    height: int
    has_alpha: bool = False


JPEG_HEAD = (
    bytes.fromhex("ffd8 ffe0 0010 4a46494600 0101 00 0001 0001 0000")  # JFIF
    + bytes.fromhex("ffdb 0043 00")  # quantisation: none
    + 64 * b"\1"
    + bytes.fromhex("ffc0 000b 08 0008 0008 01 01 11 00")  # 8 x 8 pixels, one component of 8 bits
    + bytes.fromhex("ffc4 0014 00 01" + 15 * "00" + "0a")  # means: the code 0 stands for ten bits
    + bytes.fromhex("ffc4 0014 10 01" + 15 * "00" + "00")  # details: the code 0 stands for none
    + bytes.fromhex("ffda 0008 01 01 00 00 3f 00")
)
"""Of every preview, up to its pixels."""


def fake_png(prompt: str, seed: int, *, width: int, height: int) -> bytes:
    """A real RGB PNG of vertical colour bars that depend on prompt and seed.

    Only the first line is drawn; each further line says "as above" in one PNG filter byte, and those lines
    are compressed once per size. That costs about 0.3 ms at 512x512 instead of 10.
    """
    digest = _digest(prompt, seed)
    bars = [digest[i : i + 3] for i in range(0, 30, 3)]
    line = b"\0" + b"".join(bars[x * len(bars) // width] for x in range(width))
    head = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    stream = head.compress(line) + head.flush(zlib.Z_FULL_FLUSH)
    tail, lines_as_above = _tail(width, height)
    checksum = zlib.adler32(lines_as_above, zlib.adler32(line))
    body = b"\x78\x01" + stream + tail + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def fake_jpeg(prompt: str, seed: int) -> bytes:
    """A real JPEG of 8 x 8 pixels of one grey that depends on prompt and seed, as a preview.

    One block whose mean is ten bits, and Huffman tables of one code each: "ten bits follow", "no details".
    """
    mean = int.from_bytes(_digest(prompt, seed)[:2]) >> 6
    return JPEG_HEAD + struct.pack(">H", mean << 5 | 0b1111) + b"\xff\xd9"


def fake_colour(prompt: str, seed: int) -> tuple[int, int, int]:
    """One colour that depends on prompt and seed."""
    red, green, blue, *_ = _digest(prompt, seed)
    return red, green, blue


def _digest(prompt: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{prompt}".encode()).digest()


@lru_cache(maxsize=8)
def _tail(width: int, height: int) -> tuple[bytes, bytes]:
    """All lines but the first, as the end of a raw deflate stream and uncompressed."""
    lines = (b"\2" + bytes(3 * width)) * (height - 1)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(lines) + deflate.flush(), lines


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
