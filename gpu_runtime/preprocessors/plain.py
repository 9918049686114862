"""Control maps that need neither edges nor networks: softened, coarse, bent pictures. numpy and cv2."""

from __future__ import annotations

from collections.abc import Generator

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""[height, width, 3], RGB."""

FLOW_CELLS = 3
"""The random flow of a shuffle has that many bends along the shorter side."""


def blurred(picture: Pixels, sigma: float) -> Pixels:
    """Softened by a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.uint8)


def coarse(picture: Pixels, factor: float) -> Pixels:
    """What is left after shrinking by `factor` (1 to 8) and enlarging again."""
    height, width = picture.shape[:2]
    small = cv2.resize(
        picture,
        (max(round(width / factor), 1), max(round(height / factor), 1)),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def shuffled(picture: Pixels, rng: np.random.Generator) -> Generator[float, None, Pixels]:
    """The picture's own colours and textures, pulled about by a smooth random flow; no object is left.

    Yields the share that is done.
    """
    height, width = picture.shape[:2]
    columns = _smooth_noise(rng, height, width) * (width - 1)
    yield 0.3
    rows = _smooth_noise(rng, height, width) * (height - 1)
    yield 0.6
    return np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _smooth_noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """[height, width], all of 0 to 1."""
    cell = max(min(height, width) / FLOW_CELLS, 1)
    size = (int(np.ceil(height / cell)) + 3, int(np.ceil(width / cell)) + 3)
    noise = rng.random(size, dtype=np.float32)
    smooth = cv2.resize(noise, (round(size[1] * cell), round(size[0] * cell)), interpolation=cv2.INTER_CUBIC)
    # The first cell at each side is extrapolated, and flat.
    margin = round(cell)
    smooth = smooth[margin : margin + height, margin : margin + width]
    low, high = float(smooth.min()), float(smooth.max())
    return ((smooth - low) / max(high - low, 1e-6)).astype(np.float32)


def inpaint_hint(picture: Pixels, mask: NDArray[np.uint8]) -> Pixels:
    """The picture with what is to be repainted (mask above 127) in black: the map shown to a caller."""
    hint = picture.copy()
    hint[mask > 127] = 0
    return hint
