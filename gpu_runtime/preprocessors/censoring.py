"""What stands in for a picture that is not to be shown. numpy, cv2 and Pillow."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gpu_runtime.postprocess.blurs import blurred

Pixels = NDArray[np.uint8]

BLUR, PIXELATE, BLACK, TEXT = "blur", "pixelate", "black", "sensitive_content_text"
REPLACEMENTS: Final = (BLUR, PIXELATE, BLACK, TEXT)

BLUR_CELLS = 10
MOSAIC_CELLS = 14
"""Along the shorter side: neither faces nor bodies can be made out with so few."""
PANEL, INK = (58, 60, 64), (214, 216, 220)
LINES = ("Sensitive content", "This image was withheld by the safety filter.")


def replaced(picture: Pixels, how: str) -> Pixels:
    """[h, w, 3] of the same size. Raises ValueError for a word that is not in REPLACEMENTS."""
    height, width = picture.shape[:2]
    if how == BLACK:
        return np.zeros((height, width, 3), dtype=np.uint8)
    if how == TEXT:
        return panel(width, height)
    if how == PIXELATE:
        return _through(picture, MOSAIC_CELLS, cv2.INTER_NEAREST)
    if how == BLUR:
        cells = _through(picture, BLUR_CELLS, cv2.INTER_LINEAR)
        return blurred(cells, min(height, width) / BLUR_CELLS)
    raise ValueError(f"replacement must be one of {', '.join(REPLACEMENTS)}, not {how!r}")


def _through(picture: Pixels, cells: int, interpolation: int) -> Pixels:
    """Reduced to a few cells, which takes the detail away for good, and enlarged."""
    height, width = picture.shape[:2]
    cell = min(height, width) / cells
    size = (max(round(width / cell), 1), max(round(height / cell), 1))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=interpolation), dtype=np.uint8)


def panel(width: int, height: int) -> Pixels:
    """A grey panel that says why there is no picture, in letters of its size; without any below 64 pixels."""
    image = Image.new("RGB", (width, height), PANEL)
    if min(width, height) < 64:
        return np.asarray(image)
    draw = ImageDraw.Draw(image)
    sizes = (min(width / 11, height / 6), min(width / 24, height / 11))
    for line, size, place in zip(LINES, sizes, (0.46, 0.58), strict=True):
        font = ImageFont.load_default(size=max(size, 6))
        draw.text((width / 2, height * place), line, fill=INK, font=font, anchor="mm")
    return np.asarray(image)
