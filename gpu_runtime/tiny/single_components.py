"""Tiny weights that are imported by themselves: autoencoder, textual inversion, ControlNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    FluxControlNetModel,
    SD3ControlNetModel,
)
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import nn

from gpu_runtime.tiny import autoencoders, clip
from gpu_runtime.tiny.files import write_safetensors
from gpu_runtime.tiny.pipelines import RECIPES, base_family, tiny_pipeline
from gpu_runtime.tiny.seeding import seeded

EMBEDDED = {
    "sd15": {"emb_params": clip.VIT_L.width},
    "sd2": {"emb_params": clip.VIT_H.width},
    "sdxl": {"clip_l": clip.VIT_L.width, "clip_g": clip.VIT_G.width},
}
"""Tensor names of textual inversions and the widths of the encoders they belong to."""


def make_tiny_vae(family: str, folder: Path, *, seed: int = 0) -> Path:
    """An autoencoder's folder: config.json and safetensors. Raises ValueError for an unknown family."""
    if family not in autoencoders.SETTINGS:
        raise ValueError(f"no tiny VAE for {family!r}; there are: {', '.join(autoencoders.SETTINGS)}")
    autoencoders.kl_autoencoder(family, seed=seed).save_pretrained(folder, safe_serialization=True)
    return folder


def make_tiny_embedding(family: str, file: Path, *, vectors: int = 2, seed: int = 0) -> Path:
    """A textual inversion of some vectors, [vectors, width] for each encoder. Raises ValueError."""
    if family not in EMBEDDED:
        raise ValueError(f"no tiny embedding for {family!r}; there are: {', '.join(EMBEDDED)}")
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn((vectors, width), generator=generator) for name, width in EMBEDDED[family].items()
    }
    write_safetensors(tensors, file)
    return file


def make_tiny_controlnet(family: str, folder: Path, *, seed: int = 0) -> Path:
    """A ControlNet's folder for the tiny pipeline of a family; variants are in `CONTROLNETS`.

    Raises ValueError for an unknown family or variant.
    """
    if family not in CONTROLNETS:
        raise ValueError(f"no tiny ControlNet for {family!r}; there are: {', '.join(CONTROLNETS)}")
    pipeline = pipeline_beside(family)
    network = seeded(lambda: _sighted(CONTROLNETS[family](pipeline)), seed)
    network.save_pretrained(folder, safe_serialization=True)
    return folder


@lru_cache(maxsize=4)
def pipeline_beside(name: str) -> Any:  # untyped in diffusers
    """The tiny pipeline that something of this family or variant is made for; nobody changes it."""
    return tiny_pipeline(name if name in RECIPES else base_family(name))


def _sighted(network: Any) -> Any:  # untyped in diffusers
    """As wide as they are, its first layers would pass on next to nothing of a picture."""
    for module in network.modules():
        if isinstance(module, ControlNetConditioningEmbedding):
            for layer in (module.conv_in, *module.blocks, module.conv_out):
                nn.init.kaiming_normal_(layer.weight)
    return network


def _beside_unet(pipeline: Any, **changes: Any) -> Any:  # untyped in diffusers
    network = ControlNetModel.from_unet(
        pipeline.unet, load_weights_from_unet=False, conditioning_embedding_out_channels=(4, 4, 8, 8)
    )
    return ControlNetModel.from_config(network.config, **changes) if changes else network


def _union_beside_unet(pipeline: Any) -> Any:  # untyped in diffusers
    config = dict(_beside_unet(pipeline).config)
    del config["mid_block_type"]
    return ControlNetUnionModel.from_config(
        config,
        num_control_type=6,
        num_trans_channel=config["block_out_channels"][0],
        num_trans_head=2,
        num_proj_channel=config["block_out_channels"][0],
    )


def _beside_sd3(pipeline: Any, *, mask_channels: int = 0) -> Any:  # untyped in diffusers
    return SD3ControlNetModel.from_transformer(
        pipeline.transformer,
        num_layers=1,
        num_extra_conditioning_channels=mask_channels,
        load_weights_from_transformer=False,
    )


def _beside_sd3_without_prompt(pipeline: Any) -> Any:  # untyped in diffusers
    return SD3ControlNetModel.from_config(
        _beside_sd3(pipeline).config,
        joint_attention_dim=None,
        use_pos_embed=False,
        force_zeros_for_pooled_projection=False,
    )


def _beside_flux(pipeline: Any, *, layers: int = 1, single_layers: int = 1, **changes: Any) -> Any:
    """Any: untyped in diffusers."""
    network = FluxControlNetModel.from_transformer(
        pipeline.transformer,
        num_layers=layers,
        num_single_layers=single_layers,
        attention_head_dim=pipeline.transformer.config.attention_head_dim,
        num_attention_heads=pipeline.transformer.config.num_attention_heads,
        load_weights_from_transformer=False,
    )
    return FluxControlNetModel.from_config(network.config, **changes) if changes else network


CONTROLNETS: dict[str, Callable[[Any], Any]] = {
    "sd15": _beside_unet,
    "sd15-shuffle": partial(_beside_unet, global_pool_conditions=True),
    "sd2": _beside_unet,
    "sdxl": _beside_unet,
    "sdxl-union": _union_beside_unet,
    "sd3": _beside_sd3,
    "sd3-inpaint": partial(_beside_sd3, mask_channels=1),
    "sd3-large": _beside_sd3_without_prompt,
    "flux": _beside_flux,
    "flux-union": partial(_beside_flux, layers=2, single_layers=0, num_mode=4),
    "flux-xlabs": partial(
        _beside_flux, layers=2, single_layers=0, patch_size=2, conditioning_embedding_channels=16
    ),
}
"""Builds the ControlNet of a family, or of a family and a variant, beside its tiny pipeline.

"shuffle" pools its results, as the ControlNet of that name; "inpaint" takes a mask; "large" looks at no
prompt and has no positions of its own, as those of 3.5 large; "xlabs" sees pixels.
"""
