"""From a stranger's file to plain pixels: 8-bit RGB, RGBA or grey, upright, in sRGB, as a PNG of our own.

Alone in loading the imaging library for requests. Decoding takes memory of the picture's size, so only a few
are decoded at once in a process.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from typing import Final

import fpng
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from apps.generation.picture_headers import (
    MAX_PROFILE_BYTES,
    BadPicture,
    Header,
    read_header,
    require_size,
    without_ballast,
)

MEDIA_TYPE: Final = "image/png"
DECODERS: Final = threading.BoundedSemaphore(4)
ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's number: what makes the picture upright."""
# What Pillow raises for damaged files: its own error is an OSError, the decoders add the others.
DAMAGED: Final = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    Image.DecompressionBombError,
)


def normalise(data: bytes) -> tuple[bytes, Image.Image]:
    """A PNG file and its pixels, mode L, RGB or RGBA. Raises BadPicture."""
    header = read_header(data)
    plain = without_ballast(data, header)
    with DECODERS:
        picture = _decoded(plain, header)
        return _encoded(picture), picture


def _decoded(data: bytes, header: Header) -> Image.Image:
    """The first frame. Raises BadPicture."""
    try:
        with warnings.catch_warnings():
            # Sizes are our own business, and oddities of metadata nobody's.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[header.format]) as image:
                require_size(*image.size)
                image.load()
                upright = _upright(image)
                picture = _in_srgb(_plain(upright, image), image.info.get("icc_profile"))
    except DAMAGED:
        raise BadPicture(f"is a damaged {_title(header)}: it cannot be decoded") from None
    return picture


def _title(header: Header) -> str:
    return "WebP" if header.format == "WEBP" else header.format


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGED:
        # Pictures with a damaged EXIF are shown as they lie, everywhere.
        turn = None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info
    return turned


def _plain(image: Image.Image, source: Image.Image) -> Image.Image:
    """Mode L, RGB, RGBA or, with a colour profile of its own, CMYK."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return _from_deep_grey(image)
    if image.mode == "CMYK":
        return _from_cmyk(image, source)
    has_alpha = "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info
    if has_alpha:
        return _without_idle_alpha(image.convert("RGBA"))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """65535 becomes 255: Pillow's own conversion cuts everything above 255 off."""
    depth = np.asarray(image).astype(np.float32)
    return Image.fromarray(np.clip(np.rint(depth / 257), 0, 255).astype(np.uint8))


def _from_cmyk(image: Image.Image, source: Image.Image) -> Image.Image:
    """Pillow takes every CMYK JPEG for one of Adobe's, which are stored inverted."""
    if "adobe" not in source.info:
        image = Image.fromarray(255 - np.asarray(image), "CMYK")
    profile = source.info.get("icc_profile")
    converted = _through_profile(image, profile) if profile else None
    return converted or image.convert("RGB")


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    lowest, _ = image.getchannel("A").getextrema()
    return image.convert("RGB") if lowest == 255 else image


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours as they were meant: phones and cameras write profiles wider than sRGB."""
    if not profile or picture.mode not in ("RGB", "RGBA"):
        return picture
    colours = _through_profile(picture.convert("RGB"), profile)
    if colours is None:
        return picture
    if picture.mode == "RGBA":
        colours.putalpha(picture.getchannel("A"))
    return colours


def _through_profile(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """None where the profile is damaged, is for other channels, or is sRGB anyway."""
    if len(profile) > MAX_PROFILE_BYTES:
        return None
    try:
        meant = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(meant).lower():
            return None if picture.mode == "RGB" else picture.convert("RGB")
        return ImageCms.profileToProfile(picture, meant, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, *DAMAGED):
        return None


def _encoded(picture: Image.Image) -> bytes:
    return _WRITERS[picture.mode](picture)


def _by_fpng(picture: Image.Image) -> bytes:
    """Lossless like any PNG, and tens of times as fast."""
    data: bytes = fpng.from_bytes(picture.tobytes(), *picture.size, len(picture.getbands()))
    return data


def _by_pillow(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


_WRITERS: Final[dict[str, Callable[[Image.Image], bytes]]] = {
    "RGB": _by_fpng,
    "RGBA": _by_fpng,
    # fpng knows no grey.
    "L": _by_pillow,
}
