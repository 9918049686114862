"""Comparing images that a busy machine has made twice."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.int16]
"""[H, W, 3], 0 to 255; signed, so that differences are."""


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def is_same(first: Pixels, second: Pixels) -> bool:
    """Whether nothing but rounding tells them apart: at most one level of 255 in a hundredth of the values.

    How many rows share a call follows what calls have cost so far, hence the machine's load, and the order of
    summation follows the rows. To the bit, requests of the exact tier are the same; see
    tests/gpu_runtime/test_equality_matrix.py.
    """
    if first.shape != second.shape:
        return False
    difference = np.abs(first - second)
    return bool(difference.max() <= 1 and (difference > 0).mean() < 0.01)
