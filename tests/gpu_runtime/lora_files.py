"""LoRA files written by tests, and what a file comes to once it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.adapters.deltas import Bias, Delta, Full, Kronecker, LowRank
from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.messages import LoraRef
from gpu_runtime.tiny.files import write_safetensors

ROOM = 2**30


def lora_ref(file: Path, scale: float = 1.0, *, name: str = "a style") -> LoraRef:
    """A reference whose digest is the file's path: files in tests are never rewritten."""
    return LoraRef(name=name, path=str(file), digest=str(file), scale=scale)


def write_lora(
    file: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a file as trainers do."""
    write_safetensors(tensors, file, metadata=metadata or {"format": "pt"})
    return file


def load(
    file: Path, networks: Mapping[str, nn.Module], *, family: str = "sd15", scale: float = 1.0
) -> LoraUse:
    """The file as the engine loads it, at a strength."""
    (use,) = AdapterBank(ROOM).uses([lora_ref(file, scale)], family, networks)
    return use


def factors(
    shape: tuple[int, ...], *, rank: int = 3, seed: int = 0, spread: float = 0.2
) -> tuple[Tensor, Tensor]:
    """(down, up) for a layer whose weight has this shape, in the shapes that trainers write."""
    generator = torch.Generator().manual_seed(seed)
    out, inside, *kernel = shape
    down = torch.randn((rank, inside, *kernel), generator=generator) * spread
    up = torch.randn((out, rank, *(1 for _ in kernel)), generator=generator) * spread
    return down, up


def difference(delta: Delta) -> Tensor:
    """The whole weight difference of a delta at strength 1, computed the plain way."""
    match delta:
        case LowRank():
            product = delta.up @ delta.down.flatten(1) * delta.scale
            return product.reshape(delta.up.shape[0], *delta.down.shape[1:])
        case Full():
            return delta.weight * delta.scale
        case Kronecker():
            left = delta.left.reshape(*delta.left.shape, *(1 for _ in delta.right.shape[2:]))
            return torch.kron(left, delta.right) * delta.scale
        case Bias():
            return delta.value * delta.scale
    raise AssertionError(type(delta))


def differences(use: LoraUse) -> dict[str, Tensor]:
    """By component and module path, e.g. "unet/conv_in"; layers with one delta."""
    found = {}
    for component, layers in use.lora.layers.items():
        for path, deltas in layers.items():
            (delta,) = deltas
            found[f"{component}/{path}"] = difference(delta)
    return found


def merge(network: Any, weights: Mapping[str, Tensor]) -> None:
    """Add differences to the weights of a network of the test's own. Any: untyped in diffusers."""
    for path, weight in weights.items():
        parameter = network.get_submodule(path).weight
        parameter.data += weight.reshape(parameter.shape)
