"""`safety.check`: how likely a picture shows nudity, and what to put in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.faces import rgb
from gpu_runtime.people.onnx_network import Floats, OnnxNetwork
from gpu_runtime.people.regions import Pixels
from gpu_runtime.preprocessors.censoring import REPLACEMENTS, replaced

RESIZED_PX, INPUT_PX = 256, 224
MEAN_BGR = (104.0, 117.0, 123.0)
UNSUITABLE = 0.5


def check(context: Context) -> Iterator[float]:
    """image -> the image, or its replacement when its score reaches `threshold` (0 to 1, default 0.5).

    Notes "nsfw", the score, "is_nsfw" and "is_replaced". With `is_blocking` raises PictureUnusable
    (blocked_content) instead of replacing.
    """
    threshold, replacement = context.number("threshold", UNSUITABLE), context.text("replacement")
    if not 0 <= threshold <= 1:
        raise UnsupportedCombination(f"threshold must be 0 to 1, not {threshold:g}")
    if replacement and replacement not in REPLACEMENTS:
        raise UnsupportedCombination(
            f"replacement must be one of {', '.join(REPLACEMENTS)}, not {replacement!r}"
        )
    picture = rgb(context, "image")
    score = score_of(picture, context.load("model", _build))
    yield 0.8
    is_nsfw = score >= threshold
    context.note("nsfw", round(score, 4))
    context.note("is_nsfw", is_nsfw)
    context.note("is_replaced", is_nsfw and bool(replacement))
    if is_nsfw and context.flag("is_blocking"):
        raise PictureUnusable("the picture was withheld by the safety filter", code="blocked_content")
    context.put(
        "image", replaced(picture, replacement) if is_nsfw and replacement else context.value("image")
    )
    yield 1.0


def score_of(picture: Pixels, network: OnnxNetwork) -> float:
    """0 to 1: open_nsfw's opinion."""
    _, unsuitable = network.run(input_of(picture))[0].reshape(-1)
    return float(unsuitable)


def input_of(picture: Pixels) -> Floats:
    """[224, 224, 3] as the network was trained: squeezed to a square, its middle, BGR less the mean."""
    square = cv2.resize(picture, (RESIZED_PX, RESIZED_PX), interpolation=cv2.INTER_AREA)
    start = (RESIZED_PX - INPUT_PX) // 2
    middle = square[start : start + INPUT_PX, start : start + INPUT_PX, ::-1]
    return middle.astype(np.float32) - np.array(MEAN_BGR, dtype=np.float32)


def _build(folder: Path, _device: str) -> OnnxNetwork:
    return OnnxNetwork(folder / "score.onnx")
