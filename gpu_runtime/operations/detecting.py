"""What the detectors of control maps share: the size they work at, and their maps in the picture's size."""

from __future__ import annotations

import cv2
import numpy as np

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.postprocess.channels import as_rgb

DEFAULT_RESOLUTION_PX = 512


def work_picture(context: Context, *, longest_px: int | None = None) -> Picture:
    """The input as RGB [h, w, 3], its shorter side at most `resolution` pixels; 0 keeps the picture's size.

    Small pictures are not enlarged: there is nothing more to see in them. `longest_px` bounds the longer side
    for detectors whose memory grows with it. Raises UnsupportedCombination.
    """
    picture = np.ascontiguousarray(as_rgb(context.picture("image")))
    resolution = context.whole("resolution", DEFAULT_RESOLUTION_PX)
    if resolution < 0:
        raise UnsupportedCombination(f"resolution must be 0 or more pixels, not {resolution}")
    height, width = picture.shape[:2]
    scale = min(1.0, resolution / min(height, width)) if resolution else 1.0
    if longest_px is not None:
        scale = min(scale, longest_px / max(height, width))
    if scale == 1.0:
        return picture
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def put_map(context: Context, made: Picture) -> None:
    """Deliver a map, grey or RGB, as RGB of the input's size."""
    height, width = context.picture("image").shape[:2]
    if made.shape[:2] != (height, width):
        # Linear: cubic would ring beside white lines on black.
        made = np.asarray(cv2.resize(made, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    context.put("image", np.ascontiguousarray(as_rgb(made)))


def luma(picture: Picture) -> Picture:
    """[h, w] by Rec. 601."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
