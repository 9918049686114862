"""A small picture of the first image in the terminal itself, where that can show 24-bit colour."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image

COLUMNS: Final = 36
"""Width in characters; a character is as wide as half its height, so two pixels share one."""


def draw_thumbnail(path: Path) -> list[str]:
    """Lines of coloured half blocks; COLUMNS wide and as high as the picture's shape asks for."""
    with Image.open(path) as image:
        rows = max(2, round(COLUMNS * image.height / image.width / 2) * 2)
        small = image.convert("RGB").resize((COLUMNS, rows), Image.Resampling.LANCZOS)
    return [_line(small, row) for row in range(0, rows, 2)]


def _line(image: Image.Image, row: int) -> str:
    """Two rows of pixels: the upper one is each half block's colour, the lower one its background."""
    cells = []
    for column in range(image.width):
        upper, lower = (image.getpixel((column, y)) for y in (row, row + 1))
        cells.append(f"\x1b[38;2;{_rgb(upper)};48;2;{_rgb(lower)}m▀")
    return "".join(cells) + "\x1b[0m"


def _rgb(pixel: float | tuple[int, ...] | None) -> str:
    assert isinstance(pixel, tuple)  # an RGB image has three numbers a pixel
    return ";".join(map(str, pixel))
