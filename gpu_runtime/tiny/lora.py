"""Tiny LoRAs for the tiny pipelines, in the naming schemes of the trainers of the field.

- "kohya": underscored names, `lora_down`, `lora_up` and `alpha`, text encoders included. XL's UNet, SD3 and
  FLUX go by the names of the original files; SD3 and FLUX have one adapter for query, key and value together.
- "diffusers": dotted names under `unet.` or `transformer.`, and `text_encoder.`, `lora_A` and `lora_B`.
- "peft": the same layers of the denoiser alone, under `base_model.model.`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpu_runtime.tiny.files import write_safetensors
from gpu_runtime.tiny.original_names import flux_layers, sd3_layers, sdxl_unet_name
from gpu_runtime.tiny.pipelines import base_family, tiny_pipeline

FORMATS = ("kohya", "diffusers", "peft")

SPREAD = 0.2
"""Standard deviation of both factors: large, so that the adapter changes the image visibly."""

TRIGGER = "tinystyle"
"""The word most frequent among the captions that kohya's metadata list."""

BASE_VERSIONS = {"sd15": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0", "sd3": "sd3m", "flux": "flux1"}
"""kohya's `ss_base_model_version`."""

UNET_LAYER = re.compile(
    r"\.attentions\.\d+\.(proj_in|proj_out|transformer_blocks\.\d+\.(attn\d\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)))$"
)
TRANSFORMER_LAYER = re.compile(
    r"(attn\d?\.(to_(q|k|v|out\.0)|add_(q|k|v)_proj|to_add_out)|ff(_context)?\.net\.(0\.proj|2)|proj_(mlp|out))$"
)
TEXT_LAYER = re.compile(r"encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer that gets an adapter."""

    prefix: str
    """Component: "unet", "transformer", "text_encoder", "text_encoder_2"."""
    name: str
    """Dotted path inside the component."""
    rows: int
    columns: int
    is_convolution: bool = False


def make_tiny_lora(
    family: str, file: Path, *, rank: int = 4, file_format: str = "kohya", seed: int = 0
) -> Path:
    """Write one LoRA for the tiny pipeline of a family; returns the file.

    kohya's alpha is half the rank. Raises ValueError for an unknown format or a family without adapters.
    """
    if file_format not in FORMATS:
        raise ValueError(f"no LoRA format {file_format!r}; there are: {', '.join(FORMATS)}")
    base = base_family(family)
    if base not in BASE_VERSIONS:
        raise ValueError(f"no tiny LoRA for {family!r}; there are: {', '.join(BASE_VERSIONS)}")
    pipeline = tiny_pipeline(family)
    generator = torch.Generator().manual_seed(seed)
    if file_format == "kohya":
        tensors = dict(_kohya(base, pipeline, rank, generator))
        write_safetensors(tensors, file, metadata=_kohya_metadata(base, rank))
    else:
        tensors = dict(_dotted(pipeline, rank, generator, is_peft=file_format == "peft"))
        write_safetensors(tensors, file, metadata={"format": "pt"})
    return file


def _dotted(
    pipeline: Any, rank: int, generator: torch.Generator, *, is_peft: bool
) -> Iterator[tuple[str, Tensor]]:
    for layer in [*_denoiser_layers(pipeline), *([] if is_peft else _text_layers(pipeline))]:
        stem = f"base_model.model.{layer.name}" if is_peft else f"{layer.prefix}.{layer.name}"
        down, up = _factors(layer, rank, generator)
        yield f"{stem}.lora_A.weight", down
        yield f"{stem}.lora_B.weight", up


def _kohya(base: str, pipeline: Any, rank: int, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    for layer, stem in [*_kohya_denoiser(base, pipeline), *_kohya_text(base, pipeline)]:
        down, up = _factors(layer, rank, generator)
        yield f"{stem}.lora_down.weight", down
        yield f"{stem}.lora_up.weight", up
        yield f"{stem}.alpha", torch.tensor(rank / 2)


def _kohya_denoiser(base: str, pipeline: Any) -> Iterator[tuple[Layer, str]]:
    if base in ("sd3", "flux"):
        transformer = pipeline.transformer
        original = sd3_layers(transformer) if base == "sd3" else flux_layers(transformer)
        for name, (rows, columns) in original.items():
            layer = Layer(prefix="transformer", name=name, rows=rows, columns=columns)
            yield layer, "lora_unet_" + name.replace(".", "_")
        return
    for layer in _denoiser_layers(pipeline):
        name = sdxl_unet_name(layer.name) if base == "sdxl" else layer.name
        yield layer, "lora_unet_" + name.replace(".", "_")


def _kohya_text(base: str, pipeline: Any) -> Iterator[tuple[Layer, str]]:
    stems = {
        "text_encoder": "lora_te" if base in ("sd15", "sd2") else "lora_te1",
        "text_encoder_2": "lora_te2",
    }
    for layer in _text_layers(pipeline):
        yield layer, f"{stems[layer.prefix]}_{layer.name.replace('.', '_')}"


def _denoiser_layers(pipeline: Any) -> list[Layer]:
    prefix = "unet" if "unet" in pipeline.components else "transformer"
    pattern = UNET_LAYER if prefix == "unet" else TRANSFORMER_LAYER
    network: nn.Module = pipeline.components[prefix]
    return [
        _layer(prefix, name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and pattern.search(name)
    ]


def _text_layers(pipeline: Any) -> list[Layer]:
    """Of the CLIP encoders; trainers leave T5 alone."""
    layers = []
    for prefix in ("text_encoder", "text_encoder_2"):
        network: nn.Module | None = pipeline.components.get(prefix)
        if network is None or "CLIP" not in type(network).__name__:
            continue
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear) and TEXT_LAYER.search(name):
                # So in every released adapter, although transformers 5 dropped the level from one class.
                layers.append(_layer(prefix, "text_model." + name.removeprefix("text_model."), module))
    return layers


def _layer(prefix: str, name: str, module: nn.Module) -> Layer:
    weight = module.get_parameter("weight")
    rows, columns = int(weight.shape[0]), int(weight.shape[1])
    return Layer(prefix=prefix, name=name, rows=rows, columns=columns, is_convolution=weight.ndim == 4)


def _factors(layer: Layer, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """[rank, columns] and [rows, rank], float32; convolutions have two further dimensions of 1."""
    ones = (1, 1) if layer.is_convolution else ()
    down = torch.randn((rank, layer.columns, *ones), generator=generator) * SPREAD
    up = torch.randn((layer.rows, rank, *ones), generator=generator) * SPREAD
    return down, up


def _kohya_metadata(base: str, rank: int) -> Mapping[str, str]:
    return {
        "ss_base_model_version": BASE_VERSIONS[base],
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank / 2),
        "ss_output_name": "tiny",
        "ss_tag_frequency": json.dumps({"1_images": {TRIGGER: 10, "a drawing": 3}}),
    }
