"""Upscalers out of ncnn's files: tensor names of the original training code, float16 as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_runtime.utility.build.ncnn_files import NcnnLayer, read_layers

Tensors = dict[str, NDArray[np.float16]]

DENSE_CONVOLUTIONS = 5
DENSE_BLOCKS = 3
TAIL = ("conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")


def rrdbnet(param: Path, binary: Path) -> Tensors:
    """A Real-ESRGAN network. Raises ValueError when the layers are not RRDBNet's."""
    layers = read_layers(param, binary)
    blocks, rest = divmod(len(layers) - 1 - len(TAIL), DENSE_CONVOLUTIONS * DENSE_BLOCKS)
    if rest:
        raise ValueError(f"{len(layers)} convolutions are not those of an RRDBNet")
    names = ["conv_first"]
    for block in range(blocks):
        for dense in range(1, DENSE_BLOCKS + 1):
            names += [f"body.{block}.rdb{dense}.conv{i}" for i in range(1, DENSE_CONVOLUTIONS + 1)]
    return _named(layers, [*names, *TAIL])


def compact(param: Path, binary: Path) -> Tensors:
    """An SRVGGNetCompact: convolutions and PReLUs in turn."""
    layers = read_layers(param, binary)
    return _named(layers, [f"body.{i}" for i in range(len(layers))])


def upconv7(param: Path, binary: Path) -> Tensors:
    """A waifu2x network of seven layers."""
    layers = read_layers(param, binary)
    return _named(layers, [f"conv{i}" for i in range(1, len(layers) + 1)])


def _named(layers: list[NcnnLayer], names: list[str]) -> Tensors:
    tensors: Tensors = {}
    for layer, name in zip(layers, names, strict=True):
        tensors[f"{name}.weight"] = _kernel(layer).astype(np.float16)
        if layer.bias.size:
            tensors[f"{name}.bias"] = layer.bias.astype(np.float16)
    return tensors


def _kernel(layer: NcnnLayer) -> NDArray[np.float32]:
    if layer.kind == "PReLU":
        return layer.weight
    outputs = layer.bias.size
    side = 4 if layer.kind == "Deconvolution" else 3
    kernel = layer.weight.reshape(outputs, -1, side, side)
    # torch keeps the kernel of a transposed convolution with the inputs first.
    return kernel.transpose(1, 0, 2, 3).copy() if layer.kind == "Deconvolution" else kernel
