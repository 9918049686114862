"""The shipped networks run by something else than what the operations use: what they are compared with.

ONNX files by OpenCV's own engine, and HED written down once more, in numpy, from the paper and the weights'
names. Slow, plain, and sharing nothing with `gpu_runtime` but the files.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import load_file

from gpu_runtime.utility.shipped import WEIGHTS

Floats = NDArray[np.float32]
CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Of each of VGG-16's five scales."""


def run_by_cv2(file: Path, image: Floats) -> list[Floats]:
    """Every output for an image [side, side, 3], sorted by size and then by sum, which needs no names."""
    network = cv2.dnn.readNetFromONNX(str(file))
    network.setInput(image[None])
    return in_order(network.forward(network.getUnconnectedOutLayersNames()))


def in_order(outputs: list[Floats]) -> list[Floats]:
    """In an order that does not depend on who made them."""
    flat = [np.asarray(each, dtype=np.float32).reshape(-1) for each in outputs]
    return sorted(flat, key=lambda each: (each.size, round(float(np.abs(each).mean()), 2)))


def hed_by_hand(picture: NDArray[np.uint8]) -> Floats:
    """Edge probabilities [h, w], 0 to 255, of an RGB picture."""
    weights = load_file(WEIGHTS / "hed" / "weights.safetensors")
    x = picture[:, :, ::-1].astype(np.float32) - np.array([104.00699, 116.66877, 122.67892], np.float32)
    height, width = picture.shape[:2]
    total = np.zeros((height, width), dtype=np.float32)
    fuse = _weight(weights, "fuse").reshape(-1)
    for scale, count in enumerate(CONVOLUTIONS):
        if scale:
            x = _halved(x)
        for number in range(count):
            x = np.maximum(_convolved(x, weights, f"blocks.{scale}.{number}"), 0)
        side = _convolved(x, weights, f"sides.{scale}")
        total += fuse[scale] * cv2.resize(side, (width, height), interpolation=cv2.INTER_LINEAR)
    return 255 / (1 + np.exp(-(total + weights["fuse.bias"].astype(np.float32))))


def _weight(weights: dict[str, NDArray[np.generic]], name: str) -> Floats:
    """[out, in, k, k]: int8 with a scale for each output channel, or floats."""
    stored = weights[f"{name}.weight"].astype(np.float32)
    scale = weights.get(f"{name}.weight_scale")
    return stored if scale is None else stored * scale.astype(np.float32).reshape(-1, 1, 1, 1)


def _convolved(x: Floats, weights: dict[str, NDArray[np.generic]], name: str) -> Floats:
    """[h, w, in] to [h, w, out] (without the last axis for one), zeros beyond the border."""
    weight = _weight(weights, name)
    reach = weight.shape[-1] // 2
    windows = sliding_window_view(
        np.pad(x, ((reach, reach), (reach, reach), (0, 0))), weight.shape[-2:], axis=(0, 1)
    )
    made = np.tensordot(windows, weight, axes=((2, 3, 4), (1, 2, 3))) + weights[f"{name}.bias"]
    return np.squeeze(made, axis=2) if made.shape[2] == 1 else made.astype(np.float32)


def _halved(x: Floats) -> Floats:
    """The largest of each two by two; a last odd row or column by itself."""
    height, width = x.shape[:2]
    x = np.pad(x, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=-np.inf)
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max(axis=(1, 3))
