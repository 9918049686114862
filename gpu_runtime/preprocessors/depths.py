"""Depth and normals as control images. numpy and cv2."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

LEAST_SPAN = 1e-6
"""Of the largest value: what differs less is one distance everywhere."""
BACKGROUND = 0.4
"""Nearness below which a surface counts as background, and looks straight at the camera."""
STRAIGHT = 2 * np.pi
"""Of a normal towards the camera, against gradients of nearness over the whole range."""


def nearness(values: Floats, *, is_metric: bool) -> Floats:
    """[h, w], 0 (farthest) to 1 (nearest); all 0 where all is equally far.

    `values`: what the network says; metric ones are distances.
    """
    near = 1 / np.maximum(values, 1e-3) if is_metric else values
    low, high = float(near.min()), float(near.max())
    span = high - low
    if span <= LEAST_SPAN * max(abs(high), abs(low)):
        return np.zeros_like(near, dtype=np.float32)
    return ((near - low) / span).astype(np.float32)


def depth_map(near: Floats) -> Pixels:
    """[h, w], white is near."""
    return np.round(near * 255).astype(np.uint8)


def normal_map(near: Floats, *, background: float = BACKGROUND) -> Pixels:
    """[h, w, 3]: red is left, green is up, blue is towards the camera.

    From gradients of nearness, 0 to 1, as the ControlNet for normals was trained with.
    """
    scale = 255 * 512 / (2 * max(near.shape))
    across = cv2.Sobel(near, cv2.CV_32F, 1, 0, ksize=3) / 8 * scale
    down = cv2.Sobel(near, cv2.CV_32F, 0, 1, ksize=3) / 8 * scale
    behind = near < background
    across[behind] = 0
    down[behind] = 0
    normals = np.stack([across, down, np.full_like(near, STRAIGHT)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return np.round(normals * 127.5 + 127.5).clip(0, 255).astype(np.uint8)
