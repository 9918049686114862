"""`detect.lineart`, `detect.mlsd`, `detect.threshold`: lines, white on black."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.detecting import luma, put_map, work_picture
from gpu_runtime.preprocessors.edges import lineart as dark_lines
from gpu_runtime.preprocessors.edges import straight_lines

LONGEST_PX = 1024
"""The detector of segments cannot be stopped on its way, and takes 120 ms at this side."""

SHARPNESS = 32.0
WEAKEST = 0.1
SHORTEST = 0.05
MIDDLE = 127.0


def lineart(context: Context) -> Iterator[float]:
    """image -> its dark lines. threshold_a: 1 to 64 (32); higher draws fainter lines."""
    sharpness = context.number("threshold_a", SHARPNESS)
    if not 1 <= sharpness <= 64:
        raise UnsupportedCombination(f"threshold_a of lineart must be 1 to 64, not {sharpness:g}")
    grey = luma(work_picture(context))
    yield 0.2
    put_map(context, dark_lines(grey, sharpness=sharpness))
    yield 1.0


def mlsd(context: Context) -> Iterator[float]:
    """image -> its straight lines.

    threshold_a: the weakest edge, 0 to 1 of full contrast (0.1). threshold_b: the shortest line in shares of
    the shorter side (0.05).
    """
    grey = luma(work_picture(context, longest_px=LONGEST_PX))
    yield 0.2
    shortest = min(context.number("threshold_b", SHORTEST), 1.0) * min(grey.shape)
    weakest = context.number("threshold_a", WEAKEST)
    put_map(context, straight_lines(grey, weakest=weakest, shortest_px=shortest))
    yield 1.0


def threshold(context: Context) -> Iterator[float]:
    """image -> white where it is brighter than threshold_a (127, 0 to 255), black elsewhere."""
    grey = luma(work_picture(context))
    limit = context.number("threshold_a", MIDDLE)
    put_map(context, np.where(grey > limit, np.uint8(255), np.uint8(0)))
    yield 1.0
