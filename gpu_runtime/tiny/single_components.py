"""Tiny weights that are imported by themselves: autoencoder, textual inversion, ControlNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, FluxControlNetModel, SD3ControlNetModel

from gpu_runtime.tiny import autoencoders, clip
from gpu_runtime.tiny.files import write_safetensors
from gpu_runtime.tiny.pipelines import tiny_pipeline
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
    """A ControlNet's folder for the tiny pipeline of a family. Raises ValueError for an unknown family."""
    if family not in CONTROLNETS:
        raise ValueError(f"no tiny ControlNet for {family!r}; there are: {', '.join(CONTROLNETS)}")
    pipeline = tiny_pipeline(family)
    seeded(lambda: CONTROLNETS[family](pipeline), seed).save_pretrained(folder, safe_serialization=True)
    return folder


def _beside_unet(pipeline: Any) -> Any:  # untyped in diffusers
    return ControlNetModel.from_unet(
        pipeline.unet, load_weights_from_unet=False, conditioning_embedding_out_channels=(4, 8)
    )


def _beside_sd3(pipeline: Any) -> Any:  # untyped in diffusers
    return SD3ControlNetModel.from_transformer(
        pipeline.transformer, num_layers=1, load_weights_from_transformer=False
    )


def _beside_flux(pipeline: Any) -> Any:  # untyped in diffusers
    return FluxControlNetModel.from_transformer(
        pipeline.transformer,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=pipeline.transformer.config.attention_head_dim,
        num_attention_heads=pipeline.transformer.config.num_attention_heads,
        load_weights_from_transformer=False,
    )


CONTROLNETS: dict[str, Callable[[Any], Any]] = {
    "sd15": _beside_unet,
    "sd2": _beside_unet,
    "sdxl": _beside_unet,
    "sd3": _beside_sd3,
    "flux": _beside_flux,
}
"""Builds the ControlNet of a family beside its tiny pipeline."""
