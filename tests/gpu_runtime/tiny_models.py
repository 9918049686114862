"""Tiny Stable Diffusion checkpoints, built in code from fixed seeds and saved in the diffusers layout.

Random weights: the images mean nothing, but every code path is the real one and a step takes milliseconds.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from gpu_runtime.messages import CheckpointRef

EPSILON = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
"""Scheduler configuration of Stable Diffusion 1.x."""


def tiny_pipeline(*, seed: int = 0, prediction_type: str = "epsilon") -> StableDiffusionPipeline:
    """A complete pipeline: 4 latent channels, VAE factor 2, 77 tokens, about 60,000 parameters.

    The scheduler deliberately lacks the settings that pipelines correct (`steps_offset`, `clip_sample`).
    """
    torch.manual_seed(seed)
    scheduler_class = PNDMScheduler if prediction_type == "epsilon" else DDIMScheduler
    return StableDiffusionPipeline(
        unet=_unet(),
        vae=_vae(),
        text_encoder=_text_encoder(),
        tokenizer=_tokenizer(),
        scheduler=scheduler_class(**EPSILON, prediction_type=prediction_type),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_checkpoint(
    folder: Path, *, seed: int = 0, prediction_type: str = "epsilon", digest: str | None = None
) -> CheckpointRef:
    """Save a tiny checkpoint and return the reference that requests carry."""
    pipeline = tiny_pipeline(seed=seed, prediction_type=prediction_type)
    pipeline.save_pretrained(folder, safe_serialization=True)
    _undo_corrections(folder / "scheduler" / "scheduler_config.json")
    return CheckpointRef(
        name=folder.name, family="sd15", path=str(folder), digest=digest or f"tiny-{seed}-{prediction_type}"
    )


def _undo_corrections(file: Path) -> None:
    """As in old checkpoints of the field, which the pipeline corrects when it loads them."""
    values = json.loads(file.read_text())
    values["steps_offset"] = 0
    if "clip_sample" in values:
        values["clip_sample"] = True
    file.write_text(json.dumps(values))


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def _tokenizer() -> CLIPTokenizer:
    """Knows single letters and digits, inside and at the end of a word."""
    characters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *characters, *(f"{c}</w>" for c in characters)]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=77)
