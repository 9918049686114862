"""Tiny IP-adapters for the tiny pipelines, in the layouts of their publishers, and encoders of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
    IPAdapterTimeImageProjection,
)
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from gpu_runtime.tiny.files import write_safetensors
from gpu_runtime.tiny.seeding import seeded
from gpu_runtime.tiny.single_components import pipeline_beside

PICTURE_SIDE = 32
HIDDEN = 20
"""Width of an encoder's tokens."""
PROJECTED = 16
"""Width of CLIP's summary."""

RESAMPLER = {"embed_dims": HIDDEN, "hidden_dims": 16, "heads": 1, "num_queries": 6}
TIMED_WIDTH = 16

_RESAMPLER_NAMES = (
    (r"layers\.(\d)\.ln0", r"layers.\1.0.norm1"),
    (r"layers\.(\d)\.ln1", r"layers.\1.0.norm2"),
    (r"layers\.(\d)\.attn\.to_out\.0", r"layers.\1.0.to_out"),
    (r"layers\.(\d)\.attn\.", r"layers.\1.0."),
    (r"layers\.(\d)\.ff\.1\.net\.0\.proj", r"layers.\1.1.1"),
    (r"layers\.(\d)\.ff\.1\.net\.2", r"layers.\1.1.3"),
    (r"layers\.(\d)\.ff\.0", r"layers.\1.1.0"),
    (r"layers\.(\d)\.ff\.net\.0\.proj", r"layers.\1.1.1"),
    (r"layers\.(\d)\.ff\.net\.2", r"layers.\1.1.3"),
    (r"layers\.(\d)\.adaln_norm", r"layers.\1.1.0"),
    (r"layers\.(\d)\.adaln_proj", r"layers.\1.2.1"),
)
"""diffusers' names and those of the published files, for both resamplers."""

_FULL_NAMES = ((r"ff\.net\.0\.proj", "proj.0"), (r"ff\.net\.2", "proj.2"), (r"norm", "proj.3"))
_PLAIN_NAMES = ((r"image_embeds", "proj"),)

Names = tuple[tuple[str, str], ...]


def make_tiny_picture_encoder(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """The folder of an encoder of pictures, "clip" or "siglip". Raises ValueError for another kind."""
    sizes: dict[str, Any] = {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": PICTURE_SIDE,
        "patch_size": 8,
    }
    if kind not in ENCODERS:
        raise ValueError(f"no tiny encoder of pictures {kind!r}; there are: {', '.join(ENCODERS)}")
    network = seeded(lambda: ENCODERS[kind](sizes), seed)
    network.save_pretrained(folder, safe_serialization=True)
    return folder


def make_tiny_ip_adapter(name: str, file: Path, *, seed: int = 0) -> Path:
    """An IP-adapter of a family, or of a family and a make as in `ADAPTERS`. Raises ValueError."""
    if name not in ADAPTERS:
        raise ValueError(f"no tiny IP-adapter {name!r}; there are: {', '.join(ADAPTERS)}")
    pipeline = pipeline_beside(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        write_safetensors(ADAPTERS[name](pipeline), file, metadata={"format": "pt"})
    return file


def _plain(pipeline: Any, width: int, tokens: int = 4) -> Mapping[str, Tensor]:
    network = ImageProjection(
        image_embed_dim=PROJECTED, cross_attention_dim=width, num_image_text_embeds=tokens
    )
    return _named(network, _PLAIN_NAMES)


def _unet_plain(pipeline: Any) -> dict[str, Tensor]:  # untyped in diffusers
    projection = _plain(pipeline, pipeline.unet.config.cross_attention_dim)
    return _prefixed("image_proj", projection) | _cross_attention(pipeline.unet)


def _unet_full(pipeline: Any) -> dict[str, Tensor]:  # untyped in diffusers
    width = pipeline.unet.config.cross_attention_dim
    network = IPAdapterFullImageProjection(image_embed_dim=HIDDEN, cross_attention_dim=width)
    return _prefixed("image_proj", _named(network, _FULL_NAMES)) | _cross_attention(pipeline.unet)


def _unet_plus(pipeline: Any) -> dict[str, Tensor]:  # untyped in diffusers
    width = pipeline.unet.config.cross_attention_dim
    tensors = dict(_named(IPAdapterPlusImageProjection(output_dims=width, **RESAMPLER), _RESAMPLER_NAMES))
    for name in [name for name in tensors if name.endswith("to_k.weight")]:
        key, value = tensors.pop(name), tensors.pop(name.replace("to_k", "to_v"))
        tensors[name.replace("to_k", "to_kv")] = torch.cat([key, value])
    return _prefixed("image_proj", tensors) | _cross_attention(pipeline.unet)


def _flux_plain(pipeline: Any) -> dict[str, Tensor]:  # untyped in diffusers
    """In XLabs' names."""
    transformer = pipeline.transformer
    width = transformer.config.joint_attention_dim
    tensors = _prefixed("ip_adapter_proj_model", _plain(pipeline, width))
    for block in range(transformer.config.num_layers):
        for part in "kv":
            name = f"double_blocks.{block}.processor.ip_adapter_double_stream_{part}_proj"
            tensors[f"{name}.weight"] = _random(transformer.inner_dim, width)
            tensors[f"{name}.bias"] = _random(transformer.inner_dim)
    return tensors


def _sd3_timed(pipeline: Any) -> dict[str, Tensor]:  # untyped in diffusers
    """In the names of InstantX."""
    config = pipeline.transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    resampler = IPAdapterTimeImageProjection(
        embed_dim=HIDDEN, output_dim=width, hidden_dim=TIMED_WIDTH, heads=1, num_queries=6, timestep_in_dim=8
    )
    tensors = _prefixed("image_proj", _named(resampler, _RESAMPLER_NAMES))
    for number in range(len(pipeline.transformer.attn_processors)):
        processor = SD3IPAdapterJointAttnProcessor2_0(
            hidden_size=width,
            ip_hidden_states_dim=width,
            head_dim=config.attention_head_dim,
            timesteps_emb_dim=TIMED_WIDTH,
        )
        tensors |= _prefixed(f"ip_adapter.{number}", processor.state_dict())
    return tensors


def _cross_attention(unet: Any) -> dict[str, Tensor]:  # untyped in diffusers
    tensors = {}
    layers = [module for path, module in unet.named_modules() if path.endswith(".attn2")]
    for number, layer in enumerate(layers):
        for part in "kv":
            # Every second number: the others are the layers that look at the image itself.
            tensors[f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"] = _random(*layer.to_k.weight.shape)
    return tensors


def _random(*shape: int) -> Tensor:
    return torch.randn(shape) / shape[-1] ** 0.5


def _named(network: Any, names: Names) -> Mapping[str, Tensor]:  # untyped in diffusers
    renamed = {}
    for name, tensor in network.state_dict().items():
        for ours, theirs in names:
            name = re.sub(ours, theirs, name)
        # Norms begin at 1 and 0, which would hide whether their tensors are used.
        renamed[name] = tensor + 0.1 * torch.randn(tensor.shape)
    return renamed


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


ADAPTERS: Mapping[str, Callable[[Any], dict[str, Tensor]]] = {
    "sd15": _unet_plain,
    "sd15-full": _unet_full,
    "sd15-plus": _unet_plus,
    "sdxl": _unet_plain,
    "sdxl-plus": _unet_plus,
    "sd3": _sd3_timed,
    "sd3.5-medium": _sd3_timed,
    "flux": _flux_plain,
}
"""Makes the tensors of an adapter for the tiny pipeline of a family."""

ENCODERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "clip": lambda sizes: CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes, projection_dim=PROJECTED)),
    "siglip": lambda sizes: SiglipVisionModel(SiglipVisionConfig(**sizes)),
}
"""Builds an encoder of pictures from its sizes; untyped in transformers."""
