"""Turned squares of a picture: cut out for a network, and its points brought back. Plain geometry.

Coordinates are pixels, x first, of the picture's corner (0, 0); the centre of the first pixel is at 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""[height, width, 3], RGB."""
Points = NDArray[np.float32]
"""[count, 2], or [count, 3] with a depth in pixels, nearer is smaller."""

MAX_OVERSAMPLING = 8


@dataclass(frozen=True, slots=True)
class Region:
    """A square of a picture, turned clockwise by `angle` radians."""

    centre_x: float
    centre_y: float
    side: float
    angle: float = 0.0

    def crop(self, picture: Pixels, side_px: int) -> Pixels:
        """The region, upright, `side_px` a side; black where it leaves the picture."""
        # Bilinear sampling alone would skip pixels of a large region: sample finer, then average.
        finer = min(max(int(self.side // side_px), 1), MAX_OVERSAMPLING)
        matrix = self._to_crop(side_px * finer)
        matrix[:, 2] -= 0.5 - matrix[:, :2].sum(axis=1) * 0.5  # cv2 counts from the first pixel's centre
        size = (side_px * finer, side_px * finer)
        cut = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        if finer > 1:
            cut = cv2.resize(cut, (side_px, side_px), interpolation=cv2.INTER_AREA)
        return np.asarray(cut, dtype=np.uint8)

    def bring_back(self, points: Points) -> Points:
        """Points in units of the crop's side (0 to 1) as pixels of the picture; depth is scaled alike."""
        flat = (points[:, :2] - 0.5) * self.side
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        back = flat @ np.array([[cos, sin], [-sin, cos]], dtype=np.float32)
        back = back + np.array([self.centre_x, self.centre_y], dtype=np.float32)
        depth = points[:, 2:3] * self.side
        return np.concatenate([back, depth], axis=1).astype(np.float32)

    def _to_crop(self, side_px: int) -> NDArray[np.float64]:
        """The affine matrix [2, 3] from the picture to the crop."""
        scale = side_px / self.side
        cos, sin = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        turn = np.array([[cos, sin], [-sin, cos]])
        shift = side_px / 2 - turn @ np.array([self.centre_x, self.centre_y])
        return np.column_stack([turn, shift])


def whole(picture: Pixels) -> Region:
    """The smallest upright square around the picture."""
    height, width = picture.shape[:2]
    return Region(width / 2, height / 2, max(width, height))


def tiles(picture: Pixels, share: float) -> list[Region]:
    """Upright squares of `share` of the longer side, side by side with at least a third shared."""
    height, width = picture.shape[:2]
    side = max(width, height) * share
    return [Region(x, y, side) for y in _centres(height, side) for x in _centres(width, side)]


def _centres(length: float, side: float) -> list[float]:
    if length <= side:
        return [length / 2]
    count = math.ceil((length - side) / (side * 2 / 3)) + 1
    return [side / 2 + (length - side) * index / (count - 1) for index in range(count)]


def direction(start: NDArray[np.float32], end: NDArray[np.float32]) -> float:
    """Angle of the line from start to end: 0 to the right, a quarter turn downwards."""
    return math.atan2(float(end[1] - start[1]), float(end[0] - start[0]))
