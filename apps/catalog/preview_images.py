"""Decoding and shrinking of uploaded pictures: alone in loading the imaging library for the catalogue."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, UnidentifiedImageError

from apps.catalog.errors import PreviewUnusable

MAX_PIXELS: Final = 16_800_000
LONGEST_PX: Final = 512
FORMATS: Final = ("PNG", "JPEG", "WEBP")
QUALITY: Final = 82


def shrink(data: bytes) -> tuple[bytes, tuple[int, int]]:
    """WebP of at most LONGEST_PX a side, without what cameras and editors write beside the pixels; its size.

    Raises PreviewUnusable for what is no PNG, JPEG or WebP, is damaged, or has more than MAX_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PreviewUnusable(problem=f"has more than {MAX_PIXELS / 1e6:.1f} million pixels")
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            picture = image.convert("RGBA" if has_alpha else "RGB")
    # What Pillow raises for damaged files: its own error is an OSError, the decoders add the others.
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        raise PreviewUnusable(problem="cannot be read: the image is damaged") from None
    picture.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue(), picture.size
