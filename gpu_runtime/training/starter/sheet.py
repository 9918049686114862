"""Contact sheets: many small pictures in one PNG, for a person to look at while something trains."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

LABEL_PX = 12


def save_grid(images: NDArray[np.uint8], columns: int, path: Path, labels: list[str] | None = None) -> None:
    """Writes images, uint8 [n, h, w, 3], row by row; `labels` go below their pictures."""
    count, height, width, _ = images.shape
    cell = height + (LABEL_PX if labels else 0)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * width, rows * cell), "white")
    draw = ImageDraw.Draw(sheet)
    for index, pixels in enumerate(images):
        left, top = index % columns * width, index // columns * cell
        sheet.paste(Image.fromarray(pixels), (left, top))
        if labels:
            draw.text((left + 2, top + height), labels[index][: width // 6], fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
