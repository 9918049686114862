"""A rectangle of a picture: found around a mask, cut out, and put back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_runtime.images import resize
from gpu_runtime.postprocess.borders import Sides, carry_on
from gpu_runtime.postprocess.channels import Mask, Picture, resize_mask
from gpu_runtime.postprocess.pieces import finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Pixels of a picture; it may jut out beyond its borders."""

    left: int
    top: int
    width: int
    height: int

    def overhang(self, height: int, width: int) -> Sides:
        """How far it juts out of a picture of height x width, at each side."""
        return Sides(
            left=max(0, -self.left),
            top=max(0, -self.top),
            right=max(0, self.left + self.width - width),
            bottom=max(0, self.top + self.height - height),
        )


def box_around(mask: Mask, *, padding_px: int, width: int, height: int) -> Box:
    """The smallest box of the proportions width : height around what the mask marks and the padding.

    It lies inside the picture where that is possible; else it juts out evenly. An empty mask marks all.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    whole_height, whole_width = mask.shape
    if not rows.size:
        rows, columns = np.array([0, whole_height - 1]), np.array([0, whole_width - 1])
    left, right = max(0, int(columns[0]) - padding_px), min(whole_width, int(columns[-1]) + 1 + padding_px)
    top, bottom = max(0, int(rows[0]) - padding_px), min(whole_height, int(rows[-1]) + 1 + padding_px)
    across = max(right - left, round((bottom - top) * width / height))
    down = max(bottom - top, round((right - left) * height / width))
    return Box(
        left=_placed((left + right - across) // 2, across, whole_width),
        top=_placed((top + bottom - down) // 2, down, whole_height),
        width=across,
        height=down,
    )


def _placed(start: int, length: int, whole: int) -> int:
    if length > whole:
        return (whole - length) // 2
    return min(max(0, start), whole - length)


def cut_picture(picture: Picture, box: Box, *, width: int, height: int) -> Picture:
    """What the box shows, in that size; beyond its borders the picture is carried on."""
    sides = box.overhang(*picture.shape[:2])
    left, top = box.left + sides.left, box.top + sides.top
    shown = finish(carry_on(picture, sides))[top : top + box.height, left : left + box.width]
    return resize(np.ascontiguousarray(shown), width=width, height=height)


def cut_mask(mask: Mask, box: Box, *, width: int, height: int) -> Mask:
    """The same of a mask, which marks nothing beyond the picture."""
    sides = box.overhang(*mask.shape)
    left, top = box.left + sides.left, box.top + sides.top
    whole = cv2.copyMakeBorder(
        mask, sides.top, sides.bottom, sides.left, sides.right, cv2.BORDER_CONSTANT, value=0
    )
    shown = whole[top : top + box.height, left : left + box.width]
    return resize_mask(np.ascontiguousarray(shown), width=width, height=height)


def put_back(part: Picture, box: Box, picture: Picture) -> Picture:
    """The picture with `part`, of any size and the same channels, where the box is."""
    height, width = picture.shape[:2]
    sides = box.overhang(height, width)
    part = resize(part, width=box.width, height=box.height)
    result = picture.copy()
    top, left = max(0, box.top), max(0, box.left)
    inside = part[sides.top : box.height - sides.bottom, sides.left : box.width - sides.right]
    result[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return result
