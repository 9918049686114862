"""A picture carried on beyond its borders: mirrored, and the softer the further out.

What a model paints over is better begun from the picture's own colours than from grey.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_runtime.postprocess.blurs import blurred
from gpu_runtime.postprocess.channels import Floats, Picture

BLURS_PX = (0.0, 3.0, 10.0, 30.0, 90.0)
"""Radii of blur between which the border fades with its distance from the picture."""

REACH_PX = (0.0, 4.0, 16.0, 64.0, 200.0)
"""Distances at which each of them holds alone."""


PART_PIXELS = 400_000
"""Worked on between two yields: 30 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Pixels to add at each side, none negative."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    @property
    def total(self) -> int:
        return self.left + self.right + self.top + self.bottom


def carry_on(image: Picture, sides: Sides) -> Generator[float, None, Picture]:
    """The picture, unchanged, in the middle of a larger one. Any channels; [H, W] as well.

    Yields the share that is done.
    """
    if not sides.total:
        return image
    height, width = image.shape[:2]
    kind = cv2.BORDER_REFLECT_101 if min(height, width) > 1 else cv2.BORDER_REPLICATE
    whole = cv2.copyMakeBorder(image, sides.top, sides.bottom, sides.left, sides.right, kind)
    level = _Levels(height, width, sides)
    parts = list(_new_parts(height, width, sides))
    result, sharper = whole.copy(), whole
    for number, radius in enumerate(BLURS_PX[1:]):
        softer = blurred(whole, radius)
        yield number / (len(BLURS_PX) - 1)
        for done, part in enumerate(parts):
            share = level.at(part) - number
            if _lay(result[part], sharper[part], softer[part], share):
                yield (number + (done + 1) / len(parts)) / (len(BLURS_PX) - 1)
        sharper = softer
    return result


class _Levels:
    """How soft the larger picture is at each place: 0 as it is, n as BLURS_PX[n] makes it."""

    def __init__(self, height: int, width: int, sides: Sides) -> None:
        rows = np.arange(height + sides.top + sides.bottom, dtype=np.float32)
        columns = np.arange(width + sides.left + sides.right, dtype=np.float32)
        self._down = np.maximum(np.maximum(sides.top - rows, rows - (sides.top + height - 1)), 0)
        self._across = np.maximum(np.maximum(sides.left - columns, columns - (sides.left + width - 1)), 0)

    def at(self, part: tuple[slice, slice]) -> Floats:
        """[rows, columns], by the distance to the picture within."""
        distance = np.hypot(self._down[part[0], None], self._across[None, part[1]])
        return np.interp(distance, REACH_PX, range(len(REACH_PX))).astype(np.float32)


def _new_parts(height: int, width: int, sides: Sides) -> Iterator[tuple[slice, slice]]:
    """What is new, cut into oblong parts of at most PART_PIXELS or one row."""
    above, below = sides.top, sides.top + height
    whole_width = width + sides.left + sides.right
    oblongs = (
        (0, above, 0, whole_width),
        (above, below, 0, sides.left),
        (above, below, sides.left + width, whole_width),
        (below, below + sides.bottom, 0, whole_width),
    )
    for top, bottom, left, right in oblongs:
        if top < bottom and left < right:
            rows = max(1, PART_PIXELS // (right - left))
            for start in range(top, bottom, rows):
                yield slice(start, min(start + rows, bottom)), slice(left, right)


def _lay(result: Picture, sharper: Picture, softer: Picture, share: Floats) -> bool:
    """Write what lies between the two where `share` of the softer is 0 to 1; whether there was any."""
    between = (share > 0) & (share <= 1)
    if not between.any():
        return False
    share = share.reshape(*share.shape, *[1] * (result.ndim - 2))
    mixed = np.round(sharper + (softer.astype(np.float32) - sharper) * share)
    result[between] = mixed[between]
    return True
