"""Makes the networks of an IP-adapter's file: what turns pictures into tokens, and its attention layers.

diffusers' own loaders do the conversion of the many layouts; they are methods of denoisers, which they ask
for no more than their device and dtype, so they are called here on something that has these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.ip_adapters.layout import layer_numbers, sorted_name

_STRANGE = (KeyError, ValueError, RuntimeError, AttributeError, TypeError, IndexError)
"""What diffusers' loaders raise for tensors that do not fit together."""


@dataclass(frozen=True, slots=True)
class KeysAndValues:
    """One attention layer of an adapter of Stable Diffusion 1, 2, XL and FLUX.1; biases are None without."""

    key: Tensor
    key_bias: Tensor | None
    value: Tensor
    value_bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAdapter:
    """One file's networks, on the device."""

    projection: Any
    """One of diffusers' image projections, untyped there."""
    layers: Sequence[Any]
    """In the order of the denoiser's layers: `KeysAndValues`, or diffusers' attention processors of Stable
    Diffusion 3, untyped there."""


Tensors = Mapping[str, Tensor]


def build_for_unet(file: Path, device: torch.device, dtype: torch.dtype) -> LoadedAdapter:
    """The networks for Stable Diffusion 1, 2 and XL. Raises WeightsCorrupt."""
    return _build(file, device, dtype, UNet2DConditionModel, _keys_and_values)


def build_for_flux(file: Path, device: torch.device, dtype: torch.dtype) -> LoadedAdapter:
    """The networks for FLUX.1. Raises WeightsCorrupt."""
    return _build(file, device, dtype, FluxTransformer2DModel, _keys_and_values)


def build_for_sd3(file: Path, device: torch.device, dtype: torch.dtype, config: Any) -> LoadedAdapter:
    """The networks for Stable Diffusion 3; `config` is its transformer's, untyped. Raises WeightsCorrupt."""

    def processors(tensors: Tensors, device: torch.device, dtype: torch.dtype) -> Sequence[Any]:
        numbered = dict.fromkeys(layer_numbers(tensors))
        like = SimpleNamespace(device=device, dtype=dtype, config=config, attn_processors=numbered)
        made = SD3Transformer2DModel._convert_ip_adapter_attn_to_diffusers(like, tensors, True)
        return [made[number].requires_grad_(False) for number in numbered]

    return _build(file, device, dtype, SD3Transformer2DModel, processors)


def _build(
    file: Path,
    device: torch.device,
    dtype: torch.dtype,
    denoiser_class: Any,  # untyped in diffusers
    layers_of: Callable[[Tensors, torch.device, torch.dtype], Sequence[Any]],
) -> LoadedAdapter:
    groups = _read(file)
    like = SimpleNamespace(device=device, dtype=dtype)
    try:
        projection = denoiser_class._convert_ip_adapter_image_proj_to_diffusers(
            like, groups["image_proj"], low_cpu_mem_usage=True
        )
        layers = layers_of(groups["ip_adapter"], device, dtype)
    except _STRANGE as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise WeightsCorrupt(f"{file} is no whole IP-adapter: {error}") from error
    for network in (projection, *(layer for layer in layers if isinstance(layer, nn.Module))):
        # What the file did not bring has no memory.
        missing = [name for name, tensor in network.state_dict().items() if tensor.is_meta]
        if missing:
            raise WeightsCorrupt(f"{file} lacks {len(missing)} tensors, the first is {missing[0]}")
    return LoadedAdapter(projection=projection.eval().requires_grad_(False), layers=layers)


def _read(file: Path) -> dict[str, dict[str, Tensor]]:
    """Both groups of tensors, on the host."""
    groups: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    try:
        with safe_open(str(file), framework="pt", device="cpu") as reader:
            for name in reader.keys():  # noqa: SIM118 - no mapping
                found = sorted_name(name)
                if found:
                    groups[found[0]][found[1]] = reader.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise WeightsCorrupt(f"{file} could not be read: {error}") from error
    return groups


def _keys_and_values(tensors: Tensors, device: torch.device, dtype: torch.dtype) -> Sequence[KeysAndValues]:
    def moved(number: int, name: str) -> Tensor:
        return tensors[f"{number}.{name}"].to(device, dtype)

    def bias(number: int, name: str) -> Tensor | None:
        return moved(number, name) if f"{number}.{name}" in tensors else None

    made = [
        KeysAndValues(
            key=moved(number, "to_k_ip.weight"),
            key_bias=bias(number, "to_k_ip.bias"),
            value=moved(number, "to_v_ip.weight"),
            value_bias=bias(number, "to_v_ip.bias"),
        )
        for number in layer_numbers(tensors)
    ]
    for layer in made:
        _require_alike(layer)
    return made


def _require_alike(layer: KeysAndValues) -> None:
    """Raise ValueError unless keys and values have one shape, which the keys' was compared for.

    A call that others share would find out otherwise.
    """
    biases = [bias for bias in (layer.key_bias, layer.value_bias) if bias is not None]
    if layer.value.shape != layer.key.shape or any(bias.shape != layer.key.shape[:1] for bias in biases):
        shapes = [tuple(tensor.shape) for tensor in (layer.key, layer.value, *biases)]
        raise ValueError(f"the shapes of a layer's keys, values and biases differ: {shapes}")
