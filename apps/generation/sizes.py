"""Sides in pixels: what was asked for, what fits into a model, what is denoised, what comes out."""

from __future__ import annotations

import math
from typing import Final

from apps.core.errors import InvalidField
from apps.generation.wishes import MAX_UPSCALED_PX, HiresWish, UpscaleWish

SIDE_MULTIPLE_PX: Final = 8
MIN_SIDE_PX: Final = 64
MAX_SIDE_PX: Final = 2048
# Two latent pixels: the least the engine takes. Only strips of 1 to 16 and longer come near it.
MIN_DENOISED_PX: Final = 16
# What is asked for with neither a factor nor a side.
DEFAULT_FACTOR: Final = 4

Size = tuple[int, int]
"""(width, height) in pixels."""


def asked_size(
    *, width: int | None, height: int | None, aspect_ratio: tuple[int, int] | None, native_px: int
) -> Size:
    """Given sides as they are; a missing one follows the aspect ratio (1:1 if there is none).

    With neither side given, as many pixels as the checkpoint's native square, in the asked ratio.
    """
    wide, high = aspect_ratio or (1, 1)
    if width is None and height is None:
        unit = native_px / math.sqrt(wide * high)
        return nearest_side(wide * unit), nearest_side(high * unit)
    if height is None:
        assert width is not None
        return width, nearest_side(width * high / wide)
    return width or nearest_side(height * wide / high), height


def size_of_picture(picture: Size, *, shortest_px: int, longest_px: int) -> Size:
    """The nearest size with sides of multiples of 8, not above `longest_px` and not below `shortest_px`.

    Proportions are kept but for the rounding, and for strips so narrow that both limits cannot be met.
    """
    width, height = picture
    longest_px -= longest_px % SIDE_MULTIPLE_PX
    scale = min(1.0, longest_px / max(width, height))
    scale = max(scale, min(shortest_px / min(width, height), longest_px / max(width, height)))
    shortest_px = nearest_side(shortest_px)
    fitted = [min(longest_px, max(shortest_px, nearest_side(side * scale))) for side in picture]
    return fitted[0], fitted[1]


def denoised_size(width: int, height: int, *, longest_px: int, multiple_px: int = SIDE_MULTIPLE_PX) -> Size:
    """The size to denoise at: the asked one, or its proportions with the longer side at `longest_px`.

    Both sides are multiples of `multiple_px`; the finished image is resized where that changed them.
    """
    longest = max(width, height)
    # A limit between two multiples would otherwise be rounded up past itself.
    longest_px -= longest_px % multiple_px
    scale = min(1.0, longest_px / longest)
    return (
        max(MIN_DENOISED_PX, nearest_side(width * scale, multiple_px)),
        max(MIN_DENOISED_PX, nearest_side(height * scale, multiple_px)),
    )


def nearest_side(side_px: float, multiple_px: int = SIDE_MULTIPLE_PX) -> int:
    """The nearest multiple, and at least one of it."""
    return max(multiple_px, round(side_px / multiple_px) * multiple_px)


def hires_size(first: Size, wish: HiresWish, *, longest_px: int, multiple_px: int) -> Size:
    """Size of the second pass. Raises InvalidField when it is not larger than the first, or too large."""
    if wish.width or wish.height:
        scale = (wish.width or 0) / first[0] or (wish.height or 0) / first[1]
        wanted = (wish.width or first[0] * scale, wish.height or first[1] * scale)
    else:
        wanted = (first[0] * wish.scale, first[1] * wish.scale)
    width, height = (nearest_side(side, multiple_px) for side in wanted)
    for field, side, before in (("hires_width", width, first[0]), ("hires_height", height, first[1])):
        if not before <= side <= longest_px:
            raise InvalidField(field=field, problem=f"must be {before} to {longest_px}, not {side}")
    if (width, height) == first:
        raise InvalidField(field="hires_scale", problem=f"leaves the size at {width} x {height}")
    return width, height


def upscaled_size(picture: Size, wish: UpscaleWish) -> Size:
    """What an upscale comes to. Raises InvalidField beyond 8192 pixels a side."""
    width, height = picture
    if wish.width and wish.height:
        return wish.width, wish.height
    if wish.width or wish.height:
        scale = (wish.width or 0) / width or (wish.height or 0) / height
    else:
        scale = float(wish.factor or DEFAULT_FACTOR)
    larger = (wish.width or round(width * scale), wish.height or round(height * scale))
    if max(larger) > MAX_UPSCALED_PX:
        raise InvalidField(
            field="upscale_factor" if wish.factor else "upscale",
            problem=f"would make {larger[0]} x {larger[1]} of {width} x {height}; at most"
            f" {MAX_UPSCALED_PX} pixels a side come out",
        )
    return max(1, larger[0]), max(1, larger[1])
