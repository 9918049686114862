"""LoRA files of each trainer's naming, for the layers of real networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch

from gpu_runtime.tiny.original_ldm import unet_to_ldm

State = dict[str, torch.Tensor]

UNET_LAYERS = re.compile(
    r"attentions\.\d+\.(proj_in|proj_out|transformer_blocks\.\d+\.(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)))"
)
UNET_CONVOLUTIONS = re.compile(r"resnets\.\d+\.conv[12]")
TEXT_LAYERS = re.compile(r"layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])")
FLUX_LAYERS = re.compile(
    r"(double_blocks\.\d+\.(img|txt)_(attn\.(qkv|proj)|mlp\.[02]|mod\.lin)|single_blocks\.\d+\.(linear[12]|modulation\.lin))"
)
TRANSFORMER_LAYERS = re.compile(r"attn\d?\.(to_(q|k|v|out\.0)|add_(q|k|v)_proj|to_add_out)")
MMDIT_LAYERS = re.compile(r"joint_blocks\.\d+\.(x|context)_block\.(attn\.(qkv|proj)|mlp\.fc[12])")


@dataclass(frozen=True, slots=True)
class Layer:
    """A weight that gets an adapter."""

    name: str
    shape: tuple[int, ...]


def layers_of(state: Mapping[str, torch.Tensor], pattern: re.Pattern[str]) -> list[Layer]:
    """The layers whose names contain the pattern up to their end."""
    return [
        Layer(name.removesuffix(".weight"), tuple(tensor.shape))
        for name, tensor in state.items()
        if name.endswith(".weight") and re.search(f"(?:{pattern.pattern})$", name.removesuffix(".weight"))
    ]


def ldm_layers(unet: State, pattern: re.Pattern[str]) -> list[Layer]:
    """The same layers by LDM names: the trainer of XL writes those."""
    wanted = {layer.name for layer in layers_of(unet, pattern)}
    originals = unet_to_ldm({name: t for name, t in unet.items() if name.endswith(".weight")})
    names = dict(zip([n for n in unet if n.endswith(".weight")], originals.items(), strict=True))
    return [
        Layer(original.removesuffix(".weight"), tuple(tensor.shape))
        for name, (original, tensor) in names.items()
        if name.removesuffix(".weight") in wanted
    ]


def _empty(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def _factors(layer: Layer, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns, *window = layer.shape
    return _empty(rank, columns, *window), _empty(rows, rank, *(1 for _ in window))


def kohya(prefix: str, layers: Iterable[Layer], rank: int) -> Iterator[tuple[str, torch.Tensor]]:
    for layer in layers:
        stem = f"{prefix}_{layer.name.replace('.', '_')}"
        down, up = _factors(layer, rank)
        yield f"{stem}.alpha", _empty()
        yield f"{stem}.lora_down.weight", down
        yield f"{stem}.lora_up.weight", up


def dotted(
    prefix: str,
    layers: Iterable[Layer],
    rank: int,
    endings: tuple[str, str] = ("lora_A.weight", "lora_B.weight"),
) -> Iterator[tuple[str, torch.Tensor]]:
    """diffusers', PEFT's and ComfyUI's names."""
    for layer in layers:
        down, up = _factors(layer, rank)
        yield f"{prefix}{layer.name}.{endings[0]}", down
        yield f"{prefix}{layer.name}.{endings[1]}", up


def processors(layers: Iterable[Layer], rank: int) -> Iterator[tuple[str, torch.Tensor]]:
    """diffusers' first format: the adapter hangs on the attention processor."""
    for layer in layers:
        attention, _, projection = layer.name.rpartition(".to_")
        if not attention or "out" in projection:
            attention, projection = layer.name.removesuffix(".to_out.0"), "out"
        down, up = _factors(layer, rank)
        yield f"unet.{attention}.processor.to_{projection}_lora.down.weight", down
        yield f"unet.{attention}.processor.to_{projection}_lora.up.weight", up


def loha(prefix: str, layers: Iterable[Layer], rank: int) -> Iterator[tuple[str, torch.Tensor]]:
    for layer in layers:
        rows = layer.shape[0]
        columns = torch.Size(layer.shape[1:]).numel()
        stem = f"{prefix}_{layer.name.replace('.', '_')}"
        yield f"{stem}.alpha", _empty()
        for each in ("hada_w1", "hada_w2"):
            yield f"{stem}.{each}_a", _empty(rows, rank)
            yield f"{stem}.{each}_b", _empty(rank, columns)


def lokr(
    prefix: str, layers: Iterable[Layer], rank: int, factor: int = 8
) -> Iterator[tuple[str, torch.Tensor]]:
    for layer in layers:
        rows, columns, *window = layer.shape
        stem = f"{prefix}_{layer.name.replace('.', '_')}"
        yield f"{stem}.alpha", _empty()
        yield f"{stem}.lokr_w1", _empty(factor, factor)
        yield f"{stem}.lokr_w2_a", _empty(rows // factor, rank)
        yield f"{stem}.lokr_w2_b", _empty(rank, columns // factor * torch.Size(window).numel())


def xlabs(rank: int, blocks: int = 19, width: int = 3072) -> Iterator[tuple[str, torch.Tensor]]:
    for index in range(blocks):
        for stream in (1, 2):
            for part, rows in (("qkv", 3 * width), ("proj", width)):
                stem = f"double_blocks.{index}.processor.{part}_lora{stream}"
                yield f"{stem}.down.weight", _empty(rank, width)
                yield f"{stem}.up.weight", _empty(rows, rank)
