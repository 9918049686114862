"""Grey, RGB and RGBA pictures turned into each other, and sizes of masks changed. All are uint8."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Any below: cv2's and numpy's stubs widen the type of elements at nearly every call.
Picture: TypeAlias = NDArray[Any]
"""uint8, [H, W], [H, W, 3] or [H, W, 4]; alpha is not multiplied into the colours."""
Mask: TypeAlias = NDArray[Any]
"""uint8, [H, W], 255 where it holds."""
Floats: TypeAlias = NDArray[Any]
"""float32, of any shape."""
Flags: TypeAlias = NDArray[Any]
"""bool, [H, W]."""

OPAQUE = 255


def as_rgb(picture: Picture) -> Picture:
    """[H, W, 3] without its alpha."""
    if picture.ndim == 2:
        return np.repeat(picture[:, :, None], 3, axis=2)
    return picture[:, :, :3]


def as_rgba(picture: Picture) -> Picture:
    """[H, W, 4], opaque where it had no alpha."""
    if picture.ndim == 3 and picture.shape[2] == 4:
        return picture
    return np.dstack([as_rgb(picture), np.full(picture.shape[:2], OPAQUE, dtype=np.uint8)])


def has_alpha(picture: Picture) -> bool:
    """Whether it has a fourth channel, whatever that says."""
    return picture.ndim == 3 and picture.shape[2] == 4


def as_grey(picture: Picture) -> Mask:
    """[H, W]: luma by Rec. 601; what is transparent counts as black."""
    if picture.ndim == 2:
        return picture
    luma: Mask = cv2.cvtColor(np.ascontiguousarray(picture[:, :, :3]), cv2.COLOR_RGB2GRAY)
    if has_alpha(picture):
        luma = cv2.multiply(luma, picture[:, :, 3], scale=1 / OPAQUE)
    return luma


def resize_mask(mask: Mask, *, width: int, height: int) -> Mask:
    """Bilinear: Lanczos would ring beyond the edge, and a mask must stay nought where it is nought."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR))
