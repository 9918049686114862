"""`detect.canny`, `detect.softedge`, `detect.scribble`: edges, white on black."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.operations.detecting import luma, put_map, work_picture
from gpu_runtime.postprocess.edges import HED, load_hed
from gpu_runtime.preprocessors.edges import lineart
from gpu_runtime.preprocessors.edges import scribble as strokes

CANNY_LOW, CANNY_HIGH = 100.0, 200.0
STROKE_THRESHOLD = 127.0
LONGEST_PX = 1536
"""HED's first layers hold 64 numbers for each pixel: 0.6 GB twice at this side."""


def canny(context: Context) -> Iterator[float]:
    """image -> Canny's edges. threshold_a and threshold_b: gradients of weak (100) and strong (200) edges."""
    picture = work_picture(context)
    yield 0.2
    low, high = context.number("threshold_a", CANNY_LOW), context.number("threshold_b", CANNY_HIGH)
    put_map(context, np.asarray(cv2.Canny(picture, low, high), dtype=np.uint8))
    yield 1.0


def softedge(context: Context) -> Iterator[float]:
    """image -> HED's edge probabilities; needs the weights "model"."""
    edges = yield from _hed_edges(context, work_picture(context, longest_px=LONGEST_PX))
    put_map(context, edges)


def scribble(context: Context) -> Iterator[float]:
    """image -> strokes of a pen: ridges of HED's edges, or of dark lines without the weights "model"."""
    picture = work_picture(context, longest_px=LONGEST_PX)
    if "model" in context.assets:
        edges = yield from _hed_edges(context, picture)
        put_map(context, strokes(edges, threshold=context.number("threshold_a", STROKE_THRESHOLD)))
    else:
        put_map(context, strokes(lineart(luma(picture)), threshold=30.0, sigma=1.5))
    yield 1.0


def _hed_edges(context: Context, picture: Picture) -> Generator[float, None, Picture]:
    """[h, w], 0 to 255."""
    network = context.load("model", _build)
    image = torch.from_numpy(picture).to(context.device).permute(2, 0, 1)[None].float() / 255
    made = yield from network.parts(image)
    probabilities = made[0, 0].mul(255).round().to(torch.uint8)
    return np.asarray(probabilities.cpu().numpy())


def _build(folder: Path, device: str) -> HED:
    return load_hed(load_file(folder / "weights.safetensors")).to(device)
