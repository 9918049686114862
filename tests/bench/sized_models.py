"""Stable Diffusion 1.x checkpoints of any width, with random weights, for benchmarks of loading.

The networks are those of the released model (32 layers of attention, 686 tensors in the UNet); `width` scales
the UNet's channels, which are 320 there.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from gpu_runtime.messages import CheckpointRef
from gpu_runtime.tiny.clip import tokenizer

RELEASED_WIDTH = 320


def save_sized(folder: Path, *, width: int, seed: int, dtype: torch.dtype) -> CheckpointRef:
    """Build and save one checkpoint; the files have the dtype."""
    torch.manual_seed(seed)
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(width, 2 * width, 4 * width, 4 * width),
            cross_attention_dim=768,
            attention_head_dim=8,
        ),
        vae=AutoencoderKL(
            sample_size=512,
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768, intermediate_size=3072, num_attention_heads=12, projection_dim=768
            )
        ),
        tokenizer=tokenizer(),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            skip_prk_steps=True,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return CheckpointRef(name=folder.name, family="sd15", path=str(folder), digest=f"{folder.name}-{seed}")
