"""The guided filter: values smoothed, or enlarged, along the edges of a colour picture.

In each window the values are taken for a linear function of the three colours, so that an edge of the picture
may become one of the values, and nothing else. Source: He, Sun and Tang 2013, "Guided Image Filtering", and
2015, arXiv:1505.00996, for coefficients found on a small picture and used on a large one.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_runtime.postprocess.channels import Flags, Floats
from gpu_runtime.postprocess.parts import around, parts_with


@dataclass(frozen=True, slots=True)
class Linear:
    """values = slope . colours + offset, at each place of the picture it was found on."""

    slope: Floats
    """[h, w, 3]."""
    offset: Floats
    """[h, w]."""

    def apply(self, guide: Floats, *, top: int, height: int) -> Floats:
        """Values of the rows from `top` on of a picture of `height` rows, whose colours `guide` are.

        `guide` is [rows, W, 3], 0 to 1; the picture may be larger than the one the functions were found on.
        """
        rows, width = guide.shape[:2]
        small_height, small_width = self.offset.shape
        # Centres of pixels fall on centres, as in cv2.resize; only these rows are made.
        y = (np.arange(top, top + rows, dtype=np.float32) + 0.5) * (small_height / height) - 0.5
        x = (np.arange(width, dtype=np.float32) + 0.5) * (small_width / width) - 0.5
        at_x = np.ascontiguousarray(np.broadcast_to(x, (rows, width)))
        at_y = np.ascontiguousarray(np.broadcast_to(y[:, None], (rows, width)))
        both = np.dstack([self.slope, self.offset])
        large = cv2.remap(both, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.einsum("hwc,hwc->hw", large[:, :, :3], guide) + large[:, :, 3]


def fit_linear(
    guide: Floats, values: Floats, *, radius_px: int, eps: float, weights: Floats | None = None
) -> Linear:
    """For each place the function that fits best in the windows around it.

    `guide` is [H, W, 3], 0 to 1, `values` and `weights` [H, W]; `eps` is the variance of colours below which
    the values are averaged rather than followed.
    """
    trust = np.ones(values.shape, dtype=np.float32) if weights is None else np.maximum(weights, 1e-4)

    def mean(array: Floats) -> Floats:
        return cv2.blur(array, (2 * radius_px + 1,) * 2, borderType=cv2.BORDER_REFLECT)

    total = mean(trust)
    colours = mean(guide * trust[:, :, None]) / total[:, :, None]
    level = mean(values * trust) / total
    together = mean(guide * (values * trust)[:, :, None]) / total[:, :, None] - colours * level[:, :, None]
    spread = {
        (a, b): mean(guide[:, :, a] * guide[:, :, b] * trust) / total - colours[:, :, a] * colours[:, :, b]
        for a in range(3)
        for b in range(a, 3)
    }
    slope = _solved(spread, together, eps)
    offset = level - np.einsum("hwc,hwc->hw", slope, colours)
    # Windows that tell more count for more in their neighbours.
    slope = mean(slope * trust[:, :, None]) / total[:, :, None]
    return Linear(slope, mean(offset * trust) / total)


def _solved(spread: dict[tuple[int, int], Floats], together: Floats, eps: float) -> Floats:
    """(spread + eps) ^ -1 . together, at each place; the matrices are symmetric, 3 x 3."""
    a, b, c = spread[0, 0] + eps, spread[0, 1], spread[0, 2]
    d, e, f = spread[1, 1] + eps, spread[1, 2], spread[2, 2] + eps
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    determinant = a * first + b * second + c * third
    x, y, z = together[:, :, 0], together[:, :, 1], together[:, :, 2]
    solved = (
        first * x + second * y + third * z,
        second * x + (a * f - c * c) * y + (b * c - a * e) * z,
        third * x + (b * c - a * e) * y + (a * d - b * b) * z,
    )
    return np.dstack([part / determinant for part in solved]).astype(np.float32)


def guided(guide: Floats, values: Floats, *, radius_px: int, eps: float) -> Floats:
    """The values [H, W] along the edges of the guide [H, W, 3]; may leave their range a little."""
    found = fit_linear(guide, values, radius_px=radius_px, eps=eps)
    return np.einsum("hwc,hwc->hw", found.slope, guide) + found.offset


def fit_in_parts(
    guide: Floats, values: Floats, wanted: Flags, *, radius_px: int, eps: float
) -> Generator[float, None, Linear]:
    """The functions where `wanted` [H, W]; elsewhere the values as they are. Yields the share done."""
    slope, offset = np.zeros_like(guide), values.copy()
    for share, part in parts_with(wanted):
        # A window of windows: what is further away tells nothing.
        seen, inner = around(part, 2 * radius_px + 1)
        found = fit_linear(guide[seen], values[seen], radius_px=radius_px, eps=eps)
        slope[part] = np.where(wanted[part][:, :, None], found.slope[inner], 0)
        offset[part] = np.where(wanted[part], found.offset[inner], values[part])
        yield share
    return Linear(slope, offset)


def guided_in_parts(
    guide: Floats, values: Floats, wanted: Flags, *, radius_px: int, eps: float
) -> Generator[float, None, Floats]:
    """As `guided` where `wanted` [H, W]; elsewhere the values as they are. Yields the share done."""
    found = yield from fit_in_parts(guide, values, wanted, radius_px=radius_px, eps=eps)
    return np.einsum("hwc,hwc->hw", found.slope, guide) + found.offset
