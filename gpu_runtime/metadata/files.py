"""What a finished file says about itself: its texts, and that a model made it.

PNG has a chunk for each text and one for XMP. JPEG and WebP have AUTOMATIC1111's text as EXIF user comment,
as it writes it there, and our own JSON in the XMP packet.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Final

from PIL import Image

from gpu_runtime.metadata import exif, png, xmp
from gpu_runtime.work import Encoding

FULL_COLOUR_FROM: Final = 90
"""JPEG quality from which colour keeps its full resolution (4:4:4)."""

LOSSLESS: Final = 100
"""WebP quality that means every pixel."""

PARAMETERS: Final = "parameters"
SETTINGS: Final = "darkroom"

MOST_XMP_BYTES: Final = 65_000
"""Of a JPEG segment, less its name."""


def with_texts(data: bytes, texts: Mapping[str, str], encoding: Encoding) -> bytes:
    """A PNG file with each text under its name, and the mark of a made picture."""
    chunks = [png.text_chunk(keyword, text) for keyword, text in texts.items() if text]
    if encoding.is_marked:
        packet = xmp.packet(source_type=encoding.source_type)
        chunks.append(png.international_chunk(xmp.KEYWORD, packet))
    return png.with_chunks(data, chunks)


def file_of(image: Image.Image, texts: Mapping[str, str], encoding: Encoding) -> bytes:
    """A JPEG or WebP file. A text that is too long for JPEG's 64 kB a segment is left out."""
    packet = xmp.packet(
        source_type=encoding.source_type if encoding.is_marked else "", settings=texts.get(SETTINGS, "")
    )
    if len(packet) > MOST_XMP_BYTES:
        packet = xmp.packet(source_type=encoding.source_type if encoding.is_marked else "")
    extra = {"exif": exif.with_comment(texts.get(PARAMETERS, "")), "xmp": packet}
    options: dict[str, object] = {name: block for name, block in extra.items() if block}
    if encoding.media_type == "image/jpeg":
        options |= {"format": "JPEG", "quality": encoding.quality}
        options["subsampling"] = 0 if encoding.quality >= FULL_COLOUR_FROM else 2
    elif encoding.quality == LOSSLESS:
        # Effort, not quality: more of either takes several times as long for files 6 % smaller.
        options |= {"format": "WEBP", "lossless": True, "exact": True, "quality": 20, "method": 1}
    else:
        options |= {"format": "WEBP", "quality": encoding.quality, "method": 4}
    buffer = io.BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]  # Pillow types options by format
    return buffer.getvalue()
