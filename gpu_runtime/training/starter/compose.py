"""Draws icons on plain backgrounds: the pictures that everything here is trained on and tested with.

Knows pixels only; captions and concepts are chosen elsewhere.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

NATIVE_PX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How freely a view places its icon."""

    scale: tuple[float, float]
    """The icon's longer side as a share of the picture's side, lowest and highest."""
    shift: float
    """Largest shift from the centre, as a share of the picture's side."""
    turn_degrees: float
    flip_share: float
    """Share of the views that are mirrored."""


STILL = Framing(scale=(0.72, 0.72), shift=0.0, turn_degrees=0.0, flip_share=0.0)
"""The view that sheets, galleries and PSNR use."""

TAUGHT = Framing(scale=(0.66, 0.78), shift=0.05, turn_degrees=6.0, flip_share=0.3)
"""Small jitter: seeds differ, and the object stays large enough for the VAE to draw well."""

FREE = Framing(scale=(0.6, 0.85), shift=0.09, turn_degrees=20.0, flip_share=0.5)
"""What the VAE sees."""


def compose(icons: Tensor, backgrounds: Tensor, framing: Framing, generator: torch.Generator) -> Tensor:
    """Draws each icon on its plain background.

    icons: uint8 [n, 4, h, w], premultiplied. backgrounds: float32 [n, 3] in 0 to 1.
    Returns float32 [n, 3, NATIVE_PX, NATIVE_PX] in -1 to 1.
    """
    drawn = placed(icons, NATIVE_PX, framing, generator)
    blended = drawn[:, :3] + (1 - drawn[:, 3:]) * backgrounds[:, :, None, None]
    return blended.clamp(0, 1) * 2 - 1


def placed(icons: Tensor, side_px: int, framing: Framing, generator: torch.Generator) -> Tensor:
    """The icons moved into a picture, still transparent: float32 [n, 4, side_px, side_px] in 0 to 1."""
    count = len(icons)
    grid = functional.affine_grid(_placements(count, framing, generator), [count, 4, side_px, side_px], False)
    return functional.grid_sample(icons.float() / 255, grid, mode="bilinear", align_corners=False)


def _placements(count: int, framing: Framing, generator: torch.Generator) -> Tensor:
    """The inverse transforms that `affine_grid` wants: float32 [count, 2, 3]."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    zoom = 1 / uniform(*framing.scale)
    angle = torch.deg2rad(uniform(-framing.turn_degrees, framing.turn_degrees))
    mirror = torch.where(uniform(0, 1) < framing.flip_share, -1.0, 1.0)
    dx, dy = (2 * uniform(-framing.shift, framing.shift) for _ in range(2))
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = torch.stack([mirror * cos, -mirror * sin, zoom * 0, sin, cos, zoom * 0], dim=1).view(count, 2, 3)
    rows[:, :, 2] = -(rows[:, :, :2] @ torch.stack([dx, dy], dim=1)[:, :, None])[:, :, 0]
    return rows


def jittered(colours: Tensor, generator: torch.Generator, levels: float = 8.0) -> Tensor:
    """Colours in 0 to 1 moved by up to `levels` of 255 per channel. Shape [n, 3]."""
    moved = colours + (torch.rand(colours.shape, generator=generator) * 2 - 1) * levels / 255
    return moved.clamp(0, 1)


def icon_batch(pixels: NDArray[np.uint8], rows: list[int]) -> Tensor:
    """uint8 [n, 4, h, w] of the given rows."""
    return torch.from_numpy(np.ascontiguousarray(pixels[rows])).permute(0, 3, 1, 2)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float [n, 3, h, w] in -1 to 1, to uint8 [n, h, w, 3]."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.asarray(scaled.permute(0, 2, 3, 1).cpu().numpy())
