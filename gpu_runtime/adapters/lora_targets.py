"""Which layer a trainer's name means, told from the network's own modules.

Every name is compared in its flattened form: dots become underscores, `processor` is dropped. A table holds
the layers under their own names in diffusers or transformers, and under those of other layouts: LDM's blocks
for UNets, BFL's and XLabs' for Flux, SAI's for SD3, older diffusers' for attention. The other layouts fuse
projections, so a name may mean output rows of several layers. Sizes come from the network, never from a
constant, so that tables hold for networks of any size.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from gpu_runtime.adapters.deltas import Ranges
from gpu_runtime.adapters.targets_flux import flux_names
from gpu_runtime.adapters.targets_sd3 import sd3_names
from gpu_runtime.adapters.targets_unet import ldm_names


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a delta, or some of its output rows, belongs."""

    path: str
    rows: Ranges | None = None
    """Rows of the fused delta; None for all."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that adapters can change."""

    shape: torch.Size
    """Of its weight."""
    is_grouped: bool
    """A convolution in groups, which no adapter format describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The layers of one network that adapters can change, and every name they go by."""

    layers: Mapping[str, Layer]
    """By module path."""
    names: Mapping[str, tuple[Slot, ...]]
    """By flattened name."""
    device: torch.device
    dtype: torch.dtype
    """Of its weights; float32 where they are in a type that does not compute."""
    signature: str
    """Equal for networks to which the same deltas apply."""

    def find(self, name: str) -> tuple[Slot, ...]:
        """The slots of a flattened name, empty for an unknown one."""
        return self.names.get(name, ())


_TARGETS: WeakKeyDictionary[nn.Module, Targets] = WeakKeyDictionary()


def targets_of(network: nn.Module) -> Targets:
    """The network's table; made at the first call, since modules never change."""
    targets = _TARGETS.get(network)
    if targets is None or targets.device != _device(network):
        targets = _TARGETS[network] = _read(network)
    return targets


def flatten(name: str) -> str:
    """The form in which names are compared."""
    return name.replace(".", "_").replace("_processor_", "_")


def _read(network: nn.Module) -> Targets:
    layers = {
        path: Layer(module.weight.shape, getattr(module, "groups", 1) != 1)
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    names: dict[str, tuple[Slot, ...]] = {}
    for name, slots in _foreign_names(network, layers):
        names.setdefault(flatten(name), slots)
    for path in layers:
        for name in _own_names(path):
            names[flatten(name)] = (Slot(path),)
    dtype = _dtype(network)
    described = [type(network).__name__, str(dtype), str(_device(network))]
    described += [f"{path}:{tuple(layer.shape)}" for path, layer in layers.items()]
    return Targets(
        layers=layers,
        names=names,
        device=_device(network),
        dtype=dtype,
        signature=hashlib.sha256("\n".join(described).encode()).hexdigest(),
    )


def _foreign_names(network: nn.Module, layers: Mapping[str, Layer]) -> Iterator[tuple[str, tuple[Slot, ...]]]:
    """Names of other layouts with their slots; only those whose layers exist."""
    makers = {
        "UNet2DConditionModel": ldm_names,
        "FluxTransformer2DModel": flux_names,
        "SD3Transformer2DModel": sd3_names,
    }
    make = makers.get(type(network).__name__)
    if make is None:
        return
    for name, paths, is_swapped in make(network):
        if all(path in layers for path in paths):
            yield name, _slots(paths, layers, is_swapped=is_swapped)


def _slots(paths: Iterable[str], layers: Mapping[str, Layer], *, is_swapped: bool) -> tuple[Slot, ...]:
    """Consecutive output rows for consecutive layers; swapped halves where the layouts differ in order."""
    paths = tuple(paths)
    if is_swapped:
        (path,) = paths
        height = layers[path].shape[0]
        return (Slot(path, ((height // 2, height), (0, height // 2))),)
    if len(paths) == 1:
        return (Slot(paths[0]),)
    slots, start = [], 0
    for path in paths:
        stop = start + layers[path].shape[0]
        slots.append(Slot(path, ((start, stop),)))
        start = stop
    return tuple(slots)


_OLD_ATTENTION = re.compile(r"self_attn\.(q|k|v|out)_proj$")


def _own_names(path: str) -> list[str]:
    """A layer's path as this and earlier versions of its library spell it."""
    names = [path]
    if path.endswith(".to_out.0"):
        names.append(path.removesuffix(".0"))
    if _OLD_ATTENTION.search(path):
        names.append(_OLD_ATTENTION.sub(r"self_attn.to_\1", path))
    # transformers dropped the outer module of CLIPTextModel in version 5; files have it, or not.
    bare = [name.removeprefix("text_model.") for name in names]
    if path.startswith(("encoder.layers.", "text_model.encoder.layers.")):
        names = bare + [f"text_model.{name}" for name in bare]
    return names


def _device(network: Any) -> torch.device:
    return next(network.parameters()).device


def _dtype(network: Any) -> torch.dtype:
    dtype = next(network.parameters()).dtype
    return dtype if dtype in (torch.float32, torch.bfloat16, torch.float16) else torch.float32
