"""What a mask marks painted over, and the result laid into the original. Unmarked pixels keep their bytes."""

from __future__ import annotations

from collections.abc import Generator

import cv2
import numpy as np

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.postprocess.boxes import Box, put_back
from gpu_runtime.postprocess.channels import Flags, Floats, Mask, Picture, as_rgb, as_rgba, has_alpha
from gpu_runtime.postprocess.membranes import around_hole, stretch

FILLS = ("original", "blur", "noise", "grey")
BLENDS = ("feather", "poisson")

GREY = 127

NOISE_CELL_PX = 8
"""Pixels to a side that share a colour of noise: what a latent pixel sees. Finer noise averages out."""


def fill(
    picture: Picture, mask: Mask, *, how: str, rng: np.random.Generator
) -> Generator[float, None, Picture]:
    """The picture with its marked part replaced; soft marks mix. Yields the share that is done.

    `blur` carries the surrounding colours in, `noise` is colours at random, `grey` one flat tone. Raises
    UnsupportedCombination for another `how`.
    """
    if how not in FILLS:
        raise UnsupportedCombination(f"no fill is called {how}: choose one of {', '.join(FILLS)}")
    if how == "original" or not mask.any():
        return picture
    paint = as_rgb(picture).copy()
    if how == "blur":
        paint = yield from _filmed(paint, mask == 0)
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


def paste(
    image: Picture, original: Picture, mask: Mask, *, box: Box, blend: str = "feather"
) -> Generator[float, None, Picture]:
    """The original with `image` where `mask` (of the original's size) is white. Yields the share done.

    `image` is stretched to the box. `poisson` shifts its colours so that they meet the original's along the
    mask's edge: it takes away an overall tint, and it needs some of the original around the marked part.
    Raises UnsupportedCombination for another blend.
    """
    if blend not in BLENDS:
        raise UnsupportedCombination(f"no blend is called {blend}: choose one of {', '.join(BLENDS)}")
    image, original = _alike(image, original)
    laid = put_back(image, box, original)
    yield 0.3
    if blend == "poisson":
        laid = yield from _tinted(laid, original, mask)
    return mix(original, laid, mask)


def _alike(image: Picture, original: Picture) -> tuple[Picture, Picture]:
    """Both with alpha if either has it, else both RGB."""
    if has_alpha(image) or has_alpha(original):
        return as_rgba(image), as_rgba(original)
    return as_rgb(image), as_rgb(original)


def _tinted(laid: Picture, original: Picture, mask: Mask) -> Generator[float, None, Picture]:
    """`laid` plus a film through the differences that the two have along the rim of the mask."""
    kept = mask == 0
    if not kept.any() or kept.all():
        return laid
    part = around_hole(~kept)
    result = laid.copy()
    for channel in range(3):
        own = laid[part][:, :, channel]
        difference = original[part][:, :, channel].astype(np.float32) - own
        result[part][:, :, channel] = _rounded(own + stretch(difference, kept[part]))
        yield 0.4 + 0.2 * channel
    return result


def _filmed(picture: Picture, known: Flags) -> Generator[float, None, Picture]:
    """RGB with a film of the known colours over the rest."""
    channels = []
    for channel in range(3):
        values = picture[:, :, channel].astype(np.float32)
        channels.append(_rounded(stretch(values, known)))
        yield 0.2 + 0.2 * channel
    return np.dstack(channels)


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
