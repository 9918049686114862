"""Gaussian blurs of any radius in about the same time."""

from __future__ import annotations

import cv2

from gpu_runtime.postprocess.channels import Floats, Picture

FINE_PX = 4
"""Radius of a blur on the smaller picture that stands for a larger one: what is left out is below a level."""


def blurred(image: Picture | Floats, sigma_px: float) -> Picture | Floats:
    """The image, [H, W] or [H, W, C], bytes or floats, by a Gaussian of this standard deviation; 0 is none.

    Large radii on a smaller picture, where they cost a hundredth and look the same. Beyond its borders the
    picture goes on as they are.
    """
    if sigma_px <= 0:
        return image
    shrink = max(1, int(sigma_px // FINE_PX))
    height, width = image.shape[:2]
    size = (max(1, width // shrink), max(1, height // shrink))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if shrink > 1 else image
    small = cv2.GaussianBlur(small, (0, 0), sigma_px / shrink, borderType=cv2.BORDER_REPLICATE)
    if shrink == 1:
        return small.reshape(image.shape)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(image.shape)
