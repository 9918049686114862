"""Photographs for the operations on people: those of scikit-image's wheel, and what is composed of them."""

from __future__ import annotations

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from tests.gpu_runtime.operations.running import shipped

Pixels = NDArray[np.uint8]

FACE_ASSETS = {
    "detector": shipped("mediapipe-face-detection"),
    "mesh": shipped("mediapipe-face-mesh"),
}
NOSE = (226, 118)
"""Of the astronaut, x and y."""


def astronaut() -> Pixels:
    """512 x 512; one smiling face, 94 pixels wide, head to belt."""
    return np.asarray(skimage.data.astronaut())


def coffee() -> Pixels:
    """600 x 400; nobody."""
    return np.asarray(skimage.data.coffee())


def other_person() -> Pixels:
    """The astronaut as somebody else: mirrored, broader, darker and in other light."""
    wide = cv2.resize(np.ascontiguousarray(astronaut()[:, ::-1]), (560, 470), interpolation=cv2.INTER_AREA)
    ramp = np.linspace(0.45, 0.85, 560, dtype=np.float32)[None, :, None]
    tint = np.array([1.0, 0.86, 0.78], dtype=np.float32)
    return np.round(wide[:, 24:536] * ramp[:, 24:536] * tint).astype(np.uint8)


def two_people() -> Pixels:
    """The astronaut on the left, the other person on the right, smaller."""
    right = cv2.resize(other_person(), (400, 367), interpolation=cv2.INTER_AREA)
    canvas = np.full((512, 912, 3), 96, dtype=np.uint8)
    canvas[:, :512] = astronaut()
    canvas[100:467, 512:] = right
    return canvas


def turned(picture: Pixels, degrees: float) -> Pixels:
    """About its middle, anticlockwise, with its edges drawn out."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(
        cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
    )
