"""What a mask marks painted over, and the result laid into the original. Unmarked pixels keep their bytes."""

from __future__ import annotations

import cv2
import numpy as np

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.postprocess.boxes import Box, put_back
from gpu_runtime.postprocess.channels import Floats, Mask, Picture, as_rgb, as_rgba, has_alpha
from gpu_runtime.postprocess.membranes import stretch

FILLS = ("original", "blur", "noise", "grey")
BLENDS = ("feather", "poisson")

GREY = 127

NOISE_CELL_PX = 8
"""Pixels to a side that share a colour of noise: what a latent pixel sees. Finer noise averages out."""


def fill(picture: Picture, mask: Mask, *, how: str, rng: np.random.Generator) -> Picture:
    """The picture with its marked part replaced; soft marks mix.

    `blur` carries the surrounding colours in, `noise` is colours at random, `grey` one flat tone. Raises
    UnsupportedCombination for another `how`.
    """
    if how not in FILLS:
        raise UnsupportedCombination(f"no fill is called {how}: choose one of {', '.join(FILLS)}")
    if how == "original" or not mask.any():
        return picture
    paint = as_rgb(picture).copy()
    if how == "blur":
        paint = _rounded(stretch(paint.astype(np.float32), mask == 0))
    elif how == "noise":
        paint = _noise(paint.shape[0], paint.shape[1], rng)
    else:
        paint[:] = GREY
    return mix(picture, as_rgba(paint) if has_alpha(picture) else paint, mask)


def _noise(height: int, width: int, rng: np.random.Generator) -> Picture:
    cells = (-(-height // NOISE_CELL_PX), -(-width // NOISE_CELL_PX), 3)
    drawn = rng.integers(0, 256, cells, dtype=np.uint8)
    large = cv2.resize(drawn, None, fx=NOISE_CELL_PX, fy=NOISE_CELL_PX, interpolation=cv2.INTER_CUBIC)
    return large[:height, :width]


def paste(image: Picture, original: Picture, mask: Mask, *, box: Box, blend: str = "feather") -> Picture:
    """The original with `image` where `mask` (of the original's size) is white.

    `image` is stretched to the box. `poisson` shifts its colours so that they meet the original's along the
    mask's edge: it takes away an overall tint, and it needs some of the original around the marked part.
    Raises UnsupportedCombination for another blend.
    """
    if blend not in BLENDS:
        raise UnsupportedCombination(f"no blend is called {blend}: choose one of {', '.join(BLENDS)}")
    image, original = _alike(image, original)
    laid = put_back(image, box, original)
    if blend == "poisson":
        laid = _tinted(laid, original, mask)
    return mix(original, laid, mask)


def _alike(image: Picture, original: Picture) -> tuple[Picture, Picture]:
    """Both with alpha if either has it, else both RGB."""
    if has_alpha(image) or has_alpha(original):
        return as_rgba(image), as_rgba(original)
    return as_rgb(image), as_rgb(original)


def _tinted(laid: Picture, original: Picture, mask: Mask) -> Picture:
    """`laid` plus a film through the differences that the two have along the rim of the mask."""
    kept = mask == 0
    if not kept.any():
        return laid
    difference = original[:, :, :3].astype(np.float32) - laid[:, :, :3]
    result = laid.copy()
    result[:, :, :3] = _rounded(laid[:, :, :3] + stretch(difference, kept))
    return result


def mix(below: Picture, above: Picture, mask: Mask) -> Picture:
    """`above` over `below` by the mask, equal bytes where it is 0 or 255. All of one size."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return below
    # Only the rows and columns that change: a mask is often a small part of a large picture.
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    share = mask[part].astype(np.uint16).reshape(*mask[part].shape, *[1] * (below.ndim - 2))
    mixed = below[part] * (255 - share) + above[part] * share
    result = below.copy()
    result[part] = (mixed + 127) // 255
    return result


def _rounded(values: Floats) -> Picture:
    return np.round(np.clip(values, 0, 255)).astype(np.uint8)
