"""Says what a picture shows by comparing it with drawings. Nothing is learnt, so no mistake is shared.

A picture becomes an 8x8 colour layout and 8x8 histograms of oriented gradients (Dalal and Triggs 2005), seen
against its own background colour. Knows nothing about models or prompts.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gpu_runtime.training.starter import compose
from gpu_runtime.training.starter.catalogue import BACKGROUNDS

SIDE_PX = 64
CELLS = 8
ORIENTATIONS = 8
BORDER_PX = 5
SHEET_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class Gallery:
    """Drawings to compare with."""

    names: list[str]
    styles: list[str]
    icons: Tensor
    """uint8 [n, 4, px, px], premultiplied."""

    def only(self, styles: tuple[str, ...]) -> "Gallery":
        rows = [row for row, style in enumerate(self.styles) if style in styles]
        return Gallery([self.names[r] for r in rows], [self.styles[r] for r in rows], self.icons[rows])


def border_colour(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Median colour of the outer pixels of one picture [h, w, 3]: three numbers from 0 to 1."""
    frame = np.ones(image.shape[:2], bool)
    frame[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    return (np.median(image[frame], axis=0) / 255).astype(np.float32)


def named_background(image: NDArray[np.uint8]) -> str:
    """The taught background colour that the border comes nearest to."""
    colour = border_colour(image)
    return min(
        BACKGROUNDS, key=lambda name: float(np.square(np.array(BACKGROUNDS[name]) / 255 - colour).sum())
    )


class Retriever:
    """Ranks the names of a gallery by likeness; a name counts by its best drawing, mirrored or not."""

    def __init__(self, gallery: Gallery) -> None:
        self.names = gallery.names * 2
        placed = compose.placed(gallery.icons, SIDE_PX, compose.STILL, torch.Generator().manual_seed(0))
        self.placed = torch.cat([placed, placed.flip(3)])

    def ranking(self, image: NDArray[np.uint8]) -> list[str]:
        """Names from the most to the least similar to one picture, uint8 [h, w, 3]."""
        background = torch.from_numpy(border_colour(image))
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        query = features(pixels, background)[0]
        drawn = self.placed[:, :3] + (1 - self.placed[:, 3:]) * background[:, None, None]
        best: dict[str, float] = {}
        for name, score in zip(self.names, (features(drawn, background) @ query).tolist(), strict=True):
            best[name] = max(score, best.get(name, -1.0))
        return sorted(best, key=lambda name: -best[name])


def features(images: Tensor, background: Tensor) -> Tensor:
    """Unit vectors [n, numbers] of pictures, float32 [n, 3, h, w] in 0 to 1, seen against a colour [3]."""
    small = functional.interpolate(images, (SIDE_PX, SIDE_PX), mode="area") - background[:, None, None]
    colours = functional.adaptive_avg_pool2d(small, CELLS).flatten(1)
    parts = [functional.normalize(colours, dim=1), functional.normalize(_orientations(small), dim=1)]
    return functional.normalize(torch.cat(parts, dim=1), dim=1)


def _orientations(images: Tensor) -> Tensor:
    """Gradient strength per cell and direction, under a square root: [n, cells * orientations]."""
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    strength, strongest = (across.square() + down.square()).sqrt().max(dim=1)
    pick = strongest[:, None]
    angle = torch.atan2(down.gather(1, pick)[:, 0], across.gather(1, pick)[:, 0]) % torch.pi
    bins = (angle / torch.pi * ORIENTATIONS).long().clamp(0, ORIENTATIONS - 1)
    spread = torch.zeros(len(images), ORIENTATIONS, *strength.shape[1:]).scatter_(
        1, bins[:, None], strength[:, None]
    )
    return functional.adaptive_avg_pool2d(spread, CELLS).sqrt().flatten(1)


def save_gallery(gallery: Gallery, target: Path) -> None:
    """Writes `<target>.png`, one sheet of all icons, and `<target>.json`, their names and styles."""
    count, _, side, _ = gallery.icons.shape
    rows = -(-count // SHEET_COLUMNS)
    sheet = np.zeros((rows * side, SHEET_COLUMNS * side, 4), np.uint8)
    for number, icon in enumerate(gallery.icons.permute(0, 2, 3, 1).numpy()):
        top, left = number // SHEET_COLUMNS * side, number % SHEET_COLUMNS * side
        sheet[top : top + side, left : left + side] = icon
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(target.with_suffix(".png"), optimize=True)
    listing = {"side_px": side, "icons": list(zip(gallery.names, gallery.styles, strict=True))}
    target.with_suffix(".json").write_text(json.dumps(listing, indent=0) + "\n")


def load_gallery(target: Path) -> Gallery:
    """Reads what `save_gallery` wrote."""
    listing = json.loads(target.with_suffix(".json").read_text())
    side = listing["side_px"]
    sheet = np.array(Image.open(target.with_suffix(".png")))
    tiles = (
        sheet.reshape(sheet.shape[0] // side, side, SHEET_COLUMNS, side, 4)
        .swapaxes(1, 2)
        .reshape(-1, side, side, 4)
    )
    icons = torch.from_numpy(tiles[: len(listing["icons"])].copy()).permute(0, 3, 1, 2)
    return Gallery([name for name, _ in listing["icons"]], [style for _, style in listing["icons"]], icons)
