"""HED out of Keras' file of weights: kernels turned to torch's order, stored as int8 with a scale a channel.

float16 would take 29 MB and put everything that ships above what a repository should carry; the error of int8
is measured against the original runtime in `verify`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

CONVOLUTIONS = (2, 2, 3, 3, 3)
INT8_MAX = 127


def hed(file: Path) -> dict[str, NDArray[Any]]:
    """Tensors for `gpu_runtime.postprocess.edges.load_hed`: int8 kernels, float16 scales and biases."""
    tensors: dict[str, NDArray[Any]] = {}
    with h5py.File(file) as stored:
        for block, count in enumerate(CONVOLUTIONS):
            for i in range(count):
                layer = "conv2d" if i == 0 else f"conv2d_{i}"
                group = stored[f"block{block + 1}/layers/{layer}/vars"]
                tensors |= _quantised(f"blocks.{block}.{i}", group)
            tensors |= _whole(f"sides.{block}", stored[f"dsn{block + 1}/vars"])
        tensors |= _whole("fuse", stored["fuse/vars"])
    return tensors


def _quantised(name: str, group: Any) -> dict[str, NDArray[Any]]:
    kernel = _kernel(group)
    scale = np.abs(kernel).max(axis=(1, 2, 3)) / INT8_MAX
    # A channel of zeros needs no scale of its own.
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    whole = np.rint(kernel / scale[:, None, None, None]).clip(-INT8_MAX, INT8_MAX).astype(np.int8)
    return {
        f"{name}.weight": whole,
        f"{name}.weight_scale": scale,
        f"{name}.bias": np.asarray(group["1"], dtype=np.float32),
    }


def _whole(name: str, group: Any) -> dict[str, NDArray[Any]]:
    return {f"{name}.weight": _kernel(group), f"{name}.bias": np.asarray(group["1"], dtype=np.float32)}


def _kernel(group: Any) -> NDArray[np.float32]:
    """Keras: height, width, in, out; torch: out, in, height, width."""
    return np.asarray(group["0"], dtype=np.float32).transpose(3, 2, 0, 1).copy()
