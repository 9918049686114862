"""A mask as a caller sends it, made into the one form that is used here: grey, white marks."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_runtime.postprocess.blurs import blurred
from gpu_runtime.postprocess.channels import Flags, Mask, Picture, as_grey, resize_mask

THRESHOLD = 128
"""Grey from which a pixel counts as white: drawn masks have the soft rims of brushes and of JPEG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskOptions:
    """How to read a mask, in the order in which it is done."""

    width: int
    height: int
    """Of the result, pixels; the mask is stretched to it."""
    from_alpha: bool = False
    """Whether it marks by transparency, as OpenAI's masks do, rather than by white."""
    is_inverted: bool = False
    grow_px: float = 0.0
    """How far marked places grow on all sides; below nought they shrink."""
    blur_px: float = 0.0
    """Standard deviation of the blur at the end."""


def prepare(picture: Picture, options: MaskOptions) -> Generator[float, None, Mask]:
    """[H, W], 255 where the picture marks; between 0 and 255 only in what `blur_px` softened.

    Yields the share that is done.
    """
    grey = 255 - picture[:, :, 3] if options.from_alpha else as_grey(picture)
    grey = resize_mask(np.ascontiguousarray(grey), width=options.width, height=options.height)
    marked = (grey >= THRESHOLD) != options.is_inverted
    mask: Mask = np.where(grown(marked, options.grow_px), 255, 0).astype(np.uint8)
    yield 0.5
    return blurred(mask, options.blur_px)


def grown(marked: Flags, by_px: float) -> Flags:
    """Marked places larger by a disc of this radius, or smaller when it is below nought.

    By distances, which cost the same for every radius. Beyond the picture nothing is marked or unmarked.
    """
    if by_px == 0 or not marked.any() or marked.all():
        return marked
    # Only what is near a marked place can change.
    part = _around(marked, max(by_px, 0) + 1)
    near = marked[part]
    outside = (~near if by_px > 0 else near).astype(np.uint8)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    result = np.zeros_like(marked)
    result[part] = distance <= by_px if by_px > 0 else distance > -by_px
    return result


def _around(marked: Flags, reach_px: float) -> tuple[slice, slice]:
    """The rows and columns of marked places, and so many beside them."""
    reach = int(np.ceil(reach_px))
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - reach), int(rows[-1]) + 1 + reach),
        slice(max(0, int(columns[0]) - reach), int(columns[-1]) + 1 + reach),
    )
