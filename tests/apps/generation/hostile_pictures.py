"""Files that people and attackers send as pictures, each with what must become of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageCms

PNG = b"\x89PNG\r\n\x1a\n"
RED, GREEN, BLUE = (220, 30, 40), (30, 180, 60), (30, 60, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The end of the sentence about the field, or part of it."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The normalised picture."""

    mode: str
    size: tuple[int, int]
    corners: tuple[Any, ...] = ()
    """Colours near the four corners: top left, top right, bottom left, bottom right."""
    tolerance: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One file, made when its test runs."""

    name: str
    make: Callable[[], bytes]
    outcome: Refused | Taken


def quarters(mode: str = "RGB", size: tuple[int, int] = (32, 24)) -> Image.Image:
    """Red, green over blue, white: whoever turns or inverts it is found out."""
    width, height = size
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste((255, 255, 255), (width // 2, height // 2, width, height))
    return image.convert(mode)


CORNERS = (RED, GREEN, BLUE, (255, 255, 255))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(
    width: int, height: int, pixels: bytes, *, depth: int = 8, colour: int = 2, extra: bytes = b""
) -> bytes:
    """`pixels` with their filter bytes."""
    body = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return PNG + png_header(width, height, depth=depth, colour=colour) + extra + body


def with_chunk(name: bytes, content: bytes) -> bytes:
    """The plain picture with one more chunk."""
    plain = saved(quarters(), "PNG")
    return plain[:33] + chunk(name, content) + plain[33:]


BOMB = zlib.compress(bytes(64_000_000), 9)
"""64 MB of nothing in 62 kB."""


def flood_png() -> bytes:
    """60,000 x 60,000 pixels in a hundred bytes."""
    return png(60_000, 60_000, bytes(10))


def deep_png() -> bytes:
    """16 bits a channel, RGB."""
    row = b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 4
    return png(4, 4, row * 4, depth=16)


def grey_and_alpha() -> bytes:
    image = Image.new("LA", (8, 8), (200, 255))
    image.putpixel((0, 0), (200, 0))
    return saved(image, "PNG")


def palette_with_transparency() -> bytes:
    image = quarters().quantize(8)
    return saved(image, "PNG", transparency=image.getpixel((0, 0)))


def colour_key() -> bytes:
    """RGB in which one colour is transparent."""
    return saved(quarters(), "PNG", transparency=RED)


def animation(form: str, **options: Any) -> bytes:
    frames = [quarters(), Image.new("RGB", (32, 24), BLUE)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:], duration=100, **options)


def broken_crc() -> bytes:
    data = bytearray(saved(quarters(), "PNG"))
    at = data.index(b"IDAT")
    data[at + 6] ^= 0xFF
    return bytes(data)


def bad_deflate() -> bytes:
    return PNG + png_header(8, 8) + chunk(b"IDAT", b"\x78\x9cnonsense") + chunk(b"IEND", b"")


def turned(orientation: int) -> bytes:
    """Stored so that this orientation makes it upright."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = quarters()
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(
        image.transpose(undo) if undo is not None else image, "JPEG", quality=95, exif=exif, subsampling=0
    )


def nonsense_exif() -> bytes:
    return saved(
        quarters(), "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40
    )


def cmyk(*, is_adobe: bool) -> bytes:
    """libjpeg marks CMYK as Adobe's and Pillow inverts it; without the mark the same values are plain."""
    data = saved(quarters("CMYK"), "JPEG", quality=95)
    if is_adobe:
        return data
    at = data.index(b"\xff\xee")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    plain = np.asarray(quarters("CMYK"))
    inverted = saved(Image.fromarray(255 - plain, "CMYK"), "JPEG", quality=95)
    at = inverted.index(b"\xff\xee")
    return inverted[:at] + inverted[at + 2 + length :]


def many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated a thousand times."""
    data = saved(quarters(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1000 + data[-2:]


def flood_jpeg() -> bytes:
    data = bytearray(saved(quarters(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


def flood_webp() -> bytes:
    canvas = (16383).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flood_gif() -> bytes:
    return b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0;"


def gif_with_a_frame_beyond_its_screen() -> bytes:
    """A screen of one pixel, and a frame of four thousand million."""
    data = saved(Image.new("L", (1, 1)), "GIF")
    at = data.index(b",")
    return data[: at + 5] + struct.pack("<HH", 65535, 65535) + data[at + 9 :]


def foreign_profile() -> bytes:
    """A profile for channels that the picture does not have."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return saved(quarters(), "PNG", icc_profile=profile)


def swapped_profile() -> bytes:
    """sRGB under another name, in which red stands where green should."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = profile.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    swapped = renamed.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")
    return saved(quarters(), "PNG", icc_profile=swapped)


def srgb_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved(quarters(), "PNG", icc_profile=profile)


def polyglot() -> bytes:
    """A picture that is a web page, and a ZIP file at its end."""
    return with_chunk(b"tEXt", b"x\0<script>alert(1)</script>") + b"PK\x05\x06" + bytes(18)


def bytes_after(form: str) -> bytes:
    return saved(quarters(), form) + b"<html>" * 1000


def noise() -> bytes:
    return np.random.default_rng(7).integers(0, 256, 4096, dtype=np.uint8).tobytes()


def cut(data: Callable[[], bytes], share: float) -> bytes:
    whole = data()
    return whole[: int(len(whole) * share)]


def heif(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(12) + bytes(200)


def hostile() -> Iterator[Case]:
    """All of them."""
    yield from _floods()
    yield from _strangers()
    yield from _damaged()
    yield from _odd_but_right()


def _floods() -> Iterator[Case]:
    yield Case(name="png flood", make=flood_png, outcome=Refused(problem="60000 x 60000 pixels"))
    yield Case(name="jpeg flood", make=flood_jpeg, outcome=Refused(problem="65535 x 65535 pixels"))
    yield Case(name="webp flood", make=flood_webp, outcome=Refused(problem="16384 x 16384 pixels"))
    yield Case(name="gif flood", make=flood_gif, outcome=Refused(problem="65535 x 65535 pixels"))
    yield Case(
        name="gif frame beyond its screen",
        make=gif_with_a_frame_beyond_its_screen,
        outcome=Refused(problem="is a damaged GIF"),
    )
    yield Case(
        name="just too many pixels",
        make=partial(png, 4099, 4099, b""),
        outcome=Refused(problem="16.8 million"),
    )
    yield Case(
        name="too long", make=partial(png, 16_385, 1, b""), outcome=Refused(problem="at most 16384 a side")
    )
    yield Case(name="no pixels", make=partial(png, 0, 5, b""), outcome=Refused(problem="has no pixels"))
    yield Case(name="a thousand scans", make=many_scans, outcome=Refused(problem="more than 100 scans"))
    plain = Taken(mode="RGB", size=(32, 24), corners=CORNERS)
    yield Case(name="zTXt bomb", make=partial(with_chunk, b"zTXt", b"a\0\0" + BOMB), outcome=plain)
    itxt = b"a\0\1\0\0\0" + BOMB
    yield Case(name="iTXt bomb", make=partial(with_chunk, b"iTXt", itxt), outcome=plain)
    yield Case(name="iCCP bomb", make=partial(with_chunk, b"iCCP", b"a\0\0" + BOMB), outcome=plain)
    yield Case(
        name="idat bomb", make=partial(png, 4, 4, bytes(64_000_000)), outcome=Taken(mode="RGB", size=(4, 4))
    )
    yield Case(
        name="a megabyte of text", make=partial(with_chunk, b"tEXt", b"a\0" + b"x" * 1_000_000), outcome=plain
    )


def _strangers() -> Iterator[Case]:
    image = quarters()
    for form, said in (("TIFF", "a TIFF file"), ("BMP", "a BMP file"), ("ICO", "an icon file")):
        yield Case(name=form, make=partial(saved, image, form), outcome=Refused(problem=f"is {said}"))
    files = {
        "PSD": (b"8BPS\0\1" + bytes(100), "a Photoshop file"),
        "AVIF": (heif(b"avif"), "an AVIF file"),
        "HEIC": (heif(b"heic"), "a HEIC or video file"),
        "MP4": (heif(b"isom"), "a HEIC or video file"),
        "PDF": (b"%PDF-1.7\n" + bytes(100), "a PDF file"),
        "JXL": (b"\xff\x0a" + bytes(100), "a JPEG XL file"),
        "JP2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), "a JPEG 2000 file"),
        "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        "SVG with a prologue": (b"<?xml version='1.0'?>\n<!-- a --><svg/>", "an SVG drawing"),
        "HTML": (b"\n<!DOCTYPE html><title>404</title>", "a web page or other markup"),
        "JSON": (b'{"error": "expired"}', "JSON"),
        "ZIP": (b"PK\x03\x04" + bytes(100), "a ZIP file"),
        "zero bytes": (bytes(5000), "no picture, or of an unknown type"),
        "noise": (noise(), "no picture, or of an unknown type"),
        "text": (b"hello", "no picture, or of an unknown type"),
        "a video named png": (b"\x1aE\xdf\xa3" + bytes(100), "no picture, or of an unknown type"),
    }
    for name, (data, said) in files.items():
        yield Case(
            name=name, make=partial(bytes, data), outcome=Refused(problem=f"is {said}, which is not taken")
        )
    yield Case(name="nothing", make=bytes, outcome=Refused(problem="is empty"))


def _damaged() -> Iterator[Case]:
    image = quarters(size=(320, 240))
    for form, title in (("PNG", "PNG"), ("JPEG", "JPEG"), ("WEBP", "WebP"), ("GIF", "GIF")):
        make = partial(saved, image, form)
        yield Case(
            name=f"half a {title}",
            make=partial(cut, make, 0.5),
            outcome=Refused(problem=f"is a damaged {title}"),
        )
    signatures = {"PNG": PNG, "JPEG": b"\xff\xd8\xff\xe0", "WebP": b"RIFF\x04\0\0\0WEBP", "GIF": b"GIF89a"}
    for title, signature in signatures.items():
        yield Case(
            name=f"a {title}'s signature",
            make=partial(bytes, signature),
            outcome=Refused(problem=f"is a damaged {title}"),
        )
    yield Case(
        name="broken checksum", make=broken_crc, outcome=Refused(problem="the checksum of its part IDAT")
    )
    yield Case(name="bad deflate", make=bad_deflate, outcome=Refused(problem="is a damaged PNG"))
    yield Case(
        name="chunk longer than the file",
        make=lambda: PNG + png_header(8, 8) + b"\x7f\xff\xff\xffIDAT",
        outcome=Refused(problem="is a damaged PNG"),
    )
    yield Case(
        name="impossible depth",
        make=partial(png, 4, 4, b"", depth=3),
        outcome=Refused(problem="is a damaged PNG"),
    )
    yield Case(
        name="WebP of nothing",
        make=lambda: b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40),
        outcome=Refused(problem="has no pixels"),
    )


def _odd_but_right() -> Iterator[Case]:
    yield from _of_other_modes()
    jpeg = Taken(mode="RGB", size=(32, 24), corners=CORNERS, tolerance=12)
    plain = Taken(mode="RGB", size=(32, 24), corners=CORNERS)
    for number in range(1, 9):
        yield Case(name=f"orientation {number}", make=partial(turned, number), outcome=jpeg)
    yield Case(name="nonsense EXIF", make=nonsense_exif, outcome=jpeg)
    for form in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if form == "WEBP" else {}
        yield Case(name=f"animated {form}", make=partial(animation, form, **options), outcome=plain)
    yield Case(name="animated MPO", make=partial(animation, "MPO", quality=95), outcome=jpeg)
    yield Case(
        name="progressive",
        make=partial(saved, quarters(), "JPEG", progressive=True, quality=95, subsampling=0),
        outcome=jpeg,
    )
    yield Case(name="polyglot", make=polyglot, outcome=plain)
    for form in ("PNG", "JPEG", "GIF"):
        yield Case(name=f"bytes after a {form}", make=partial(bytes_after, form), outcome=jpeg)
    yield Case(name="sRGB profile", make=srgb_profile, outcome=plain)
    yield Case(name="profile for other channels", make=foreign_profile, outcome=plain)
    swapped = (RED[1], RED[0], RED[2]), (GREEN[1], GREEN[0], GREEN[2]), BLUE
    yield Case(
        name="a profile of its own",
        make=swapped_profile,
        outcome=Taken(mode="RGB", size=(32, 24), corners=(*swapped[:2],), tolerance=40),
    )
    for size in ((1, 1), (1, 4096), (4096, 1)):
        name = f"{size[0]} x {size[1]}"
        yield Case(
            name=name,
            make=partial(saved, Image.new("RGB", size, RED), "PNG"),
            outcome=Taken(mode="RGB", size=size, corners=(RED,) * 4),
        )


def _of_other_modes() -> Iterator[Case]:
    grey = Taken(mode="L", size=(32, 24))
    yield Case(name="grey", make=partial(saved, quarters("L"), "PNG"), outcome=grey)
    yield Case(name="grey JPEG", make=partial(saved, quarters("L"), "JPEG"), outcome=grey)
    yield Case(name="one bit", make=partial(saved, quarters("1"), "PNG"), outcome=grey)
    deep = Image.fromarray(np.full((24, 32), 32896, np.uint16))
    middle = Taken(mode="L", size=(32, 24), corners=(128,) * 4, tolerance=0)
    yield Case(name="16-bit grey", make=partial(saved, deep, "PNG"), outcome=middle)
    yield Case(
        name="16-bit RGB",
        make=deep_png,
        outcome=Taken(mode="RGB", size=(4, 4), corners=((255, 128, 0),) * 4),
    )
    yield Case(name="grey and alpha", make=grey_and_alpha, outcome=Taken(mode="RGBA", size=(8, 8)))
    with_alpha = Taken(mode="RGBA", size=(32, 24))
    yield Case(name="palette with transparency", make=palette_with_transparency, outcome=with_alpha)
    yield Case(name="colour key", make=colour_key, outcome=with_alpha)
    idle = Taken(mode="RGB", size=(32, 24), corners=CORNERS)
    yield Case(name="alpha without effect", make=partial(saved, quarters("RGBA"), "PNG"), outcome=idle)
    yield Case(
        name="palette", make=partial(saved, quarters("P"), "GIF"), outcome=Taken(mode="RGB", size=(32, 24))
    )
    inks = Taken(mode="RGB", size=(32, 24), corners=CORNERS, tolerance=16)
    yield Case(name="Adobe's CMYK", make=partial(cmyk, is_adobe=True), outcome=inks)
    yield Case(name="plain CMYK", make=partial(cmyk, is_adobe=False), outcome=inks)
    yield Case(
        name="16-bit float",
        make=partial(png, 4, 4, bytes(4 * 9), depth=16, colour=0),
        outcome=Taken(mode="L", size=(4, 4)),
    )


CASES = list(hostile())
