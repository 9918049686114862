"""A picture carried on beyond its borders: mirrored, and the softer the further out.

What a model paints over is better begun from the picture's own colours than from grey.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_runtime.postprocess.channels import Floats, Picture

BLURS_PX = (0.0, 3.0, 10.0, 30.0, 90.0)
"""Radii of blur between which the border fades with its distance from the picture."""

REACH_PX = (0.0, 4.0, 16.0, 64.0, 200.0)
"""Distances at which each of them holds alone."""


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


def carry_on(image: Picture, sides: Sides) -> Picture:
    """The picture, unchanged, in the middle of a larger one. Any channels; [H, W] as well."""
    height, width = image.shape[:2]
    kind = cv2.BORDER_REFLECT_101 if min(height, width) > 1 else cv2.BORDER_REPLICATE
    whole = cv2.copyMakeBorder(image, sides.top, sides.bottom, sides.left, sides.right, kind)
    if not sides.total:
        return image
    return _softened(whole, _distance(height, width, sides))


def _distance(height: int, width: int, sides: Sides) -> Floats:
    """Pixels from each place of the larger picture to the smaller one in it."""
    rows = np.arange(height + sides.top + sides.bottom, dtype=np.float32)
    columns = np.arange(width + sides.left + sides.right, dtype=np.float32)
    down = np.maximum(np.maximum(sides.top - rows, rows - (sides.top + height - 1)), 0)
    across = np.maximum(np.maximum(sides.left - columns, columns - (sides.left + width - 1)), 0)
    return np.hypot(down[:, None], across[None, :])


def _softened(image: Picture, distance: Floats) -> Picture:
    """Each pixel with a distance between the two blurs that this lies between; the others as they are."""
    outside = distance > 0
    level = np.interp(distance[outside], REACH_PX, range(len(REACH_PX))).astype(np.float32)
    level = level.reshape(-1, *[1] * (image.ndim - 2))
    mixed = np.zeros((len(level), *image.shape[2:]), dtype=np.float32)
    for number, radius in enumerate(BLURS_PX):
        share = np.clip(1 - np.abs(level - number), 0, 1)
        if share.any():
            mixed += share * _blurred(image, radius)[outside]
    result = image.copy()
    result[outside] = np.round(mixed)
    return result


def _blurred(image: Picture, radius_px: float) -> Picture:
    """Gaussian; large radii on a smaller picture, where they cost a hundredth and look the same."""
    if radius_px == 0:
        return image
    shrink = max(1, int(radius_px // 4))
    height, width = image.shape[:2]
    size = (max(1, width // shrink), max(1, height // shrink))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), radius_px / shrink, borderType=cv2.BORDER_REFLECT_101)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(image.shape)
