"""Reads models of the ncnn runtime: a text file of layers and a binary file of their weights.

Only the layers that carry weights in the upscalers we ship are known. Format: the source of ncnn's
`ModelBinFromDataReader` and of each layer's `load_model`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = "7767517"
HALF_TAG = 0x01306B47
"""Before a weight that is stored as float16."""

WITHOUT_WEIGHTS = frozenset(
    {"Input", "Split", "Concat", "BinaryOp", "Interp", "PixelShuffle", "Crop", "Eltwise", "Pooling"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnLayer:
    """One layer with weights, in the order of the files."""

    kind: str
    """"Convolution", "Deconvolution" or "PReLU"."""
    name: str
    weight: NDArray[np.float32]
    """Flat; the kernel of a convolution in the order out, in, height, width."""
    bias: NDArray[np.float32]
    """Empty where the layer has none."""


def read_layers(param: Path, binary: Path) -> list[NcnnLayer]:
    """Every layer with weights. Raises ValueError for an unknown layer or bytes left over."""
    lines = param.read_text(encoding="ascii").split("\n")
    if lines[0].strip() != MAGIC:
        raise ValueError(f"{param.name} is no ncnn model")
    weights = _Weights(binary.read_bytes())
    layers = [layer for line in lines[2:] if line.strip() for layer in _layer(line.split(), weights)]
    weights.require_end()
    return layers


def _layer(words: list[str], weights: _Weights) -> list[NcnnLayer]:
    kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
    settings = dict(word.split("=") for word in words[4 + inputs + outputs :])
    if kind in WITHOUT_WEIGHTS:
        return []
    size = int(settings["0"])
    if kind == "PReLU":
        return [NcnnLayer(kind=kind, name=name, weight=weights.plain(size), bias=weights.plain(0))]
    if kind not in ("Convolution", "Deconvolution"):
        raise ValueError(f"layer {name} is a {kind}, which is not known here")
    weight = weights.tagged(int(settings["6"]))
    bias = weights.plain(size if settings.get("5") == "1" else 0)
    return [NcnnLayer(kind=kind, name=name, weight=weight, bias=bias)]


class _Weights:
    """Reads the binary file from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def plain(self, count: int) -> NDArray[np.float32]:
        """So many float32."""
        return np.frombuffer(self._take(4 * count), dtype="<f4").astype(np.float32)

    def tagged(self, count: int) -> NDArray[np.float32]:
        """So many numbers whose type a tag tells."""
        (tag,) = struct.unpack("<I", self._take(4))
        if tag == 0:
            return self.plain(count)
        if tag != HALF_TAG:
            raise ValueError(f"weights are stored in a way that is not known here: tag {tag:#x}")
        values = np.frombuffer(self._take(2 * count), dtype="<f2").astype(np.float32)
        self._take(-self._position % 4)
        return values

    def require_end(self) -> None:
        if self._position != len(self._data):
            raise ValueError(f"{len(self._data) - self._position} bytes are left over")

    def _take(self, size: int) -> bytes:
        part = self._data[self._position : self._position + size]
        if len(part) != size:
            raise ValueError("the file of weights is too short")
        self._position += size
        return part
