"""A picture brought to another size, or onto a larger canvas for a model to paint on."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.images import resize
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.postprocess.borders import Sides, carry_on
from gpu_runtime.postprocess.channels import Mask

MODES = ("stretch", "crop", "pad")


def fit(context: Context) -> Iterator[float]:
    """`canvas.fit`: image -> image of width x height."""
    picture = context.picture("image")
    width = context.whole("width") or picture.shape[1]
    height = context.whole("height") or picture.shape[0]
    mode = context.text("mode", "stretch")
    if mode == "pad":
        made = yield from _padded(picture, width, height)
    else:
        made = fitted(picture, width=width, height=height, mode=mode)
    context.put("image", made)
    yield 1.0


def expand(context: Context) -> Iterator[float]:
    """`canvas.expand`: image -> larger image, and a mask of what is new."""
    picture = context.picture("image")
    sides = Sides(**{side: context.whole(side) for side in ("left", "right", "top", "bottom")})
    made = yield from carry_on(picture, sides)
    context.put("image", made)
    height, width = picture.shape[:2]
    overlap_px = context.whole("overlap", 16)
    context.put("mask", new_area(height=height, width=width, sides=sides, overlap_px=overlap_px))
    yield 1.0


def fitted(picture: Picture, *, width: int, height: int, mode: str = "stretch") -> Picture:
    """The picture in that size, by Lanczos.

    `crop` fills the size and loses what juts out, evenly at both ends. Raises UnsupportedCombination for
    another mode.
    """
    if mode == "stretch":
        return resize(picture, width=width, height=height)
    if mode == "crop":
        return _cropped(picture, width, height)
    raise UnsupportedCombination(f"canvas.fit knows no mode {mode!r}: choose one of {', '.join(MODES)}")


def _cropped(picture: Picture, width: int, height: int) -> Picture:
    old_height, old_width = picture.shape[:2]
    scale = max(width / old_width, height / old_height)
    across, down = width / scale, height / scale
    left, top = (old_width - across) / 2, (old_height - down) / 2
    # A box of fractions of pixels: rounding it first would stretch small pictures visibly.
    box = (left, top, left + across, top + down)
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, box=box)
    return np.asarray(resized)


def _padded(picture: Picture, width: int, height: int) -> Generator[float, None, Picture]:
    """All of it in that size, its edges carried on, softened, to fill the rest."""
    old_height, old_width = picture.shape[:2]
    scale = min(width / old_width, height / old_height)
    across = min(width, max(1, round(old_width * scale)))
    down = min(height, max(1, round(old_height * scale)))
    left, top = (width - across) // 2, (height - down) // 2
    sides = Sides(left=left, right=width - across - left, top=top, bottom=height - down - top)
    return (yield from carry_on(resize(picture, width=across, height=down), sides))


def new_area(*, height: int, width: int, sides: Sides, overlap_px: int) -> Mask:
    """255 on the added sides of a picture of height x width, 0 in it, and a ramp of `overlap_px` between.

    The ramp lies inside the picture, at the sides that were extended: there a model makes old and new meet.
    """
    down = _ramp(_inside(height, sides.top, sides.bottom), overlap_px)
    across = _ramp(_inside(width, sides.left, sides.right), overlap_px)
    # The nearer end decides.
    return np.maximum(down[:, None], across[None, :])


def _ramp(depth: NDArray[np.float64], overlap_px: int) -> Mask:
    share = np.clip(1 - depth / (overlap_px + 1), 0, 1)
    # An S-curve has no kink where the ramp begins, which would show in a blend of flat colours.
    return np.round(255 * share**2 * (3 - 2 * share)).astype(np.uint8)


def _inside(length: int, before: int, after: int) -> NDArray[np.float64]:
    """Pixels from the nearest extended end, counted from 1 inside the picture; 0 in what is new."""
    places = np.arange(length + before + after, dtype=np.float64)
    from_start = places - before + 1 if before else np.full(places.shape, np.inf)
    from_end = before + length - places if after else np.full(places.shape, np.inf)
    return np.clip(np.minimum(from_start, from_end), 0, None)
