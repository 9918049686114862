"""Tiny pipelines of the families trained on structured captions: Bria FIBO, Ideogram 4; and two relatives.

Any throughout: untyped in diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    BriaFiboPipeline,
    BriaFiboTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Ideogram4Pipeline,
    Ideogram4Transformer2DModel,
)

from gpu_runtime.tiny import language_models, language_tokenizers, vision_models
from gpu_runtime.tiny.autoencoders import flux2_autoencoder, wan_autoencoder
from gpu_runtime.tiny.seeding import Seeds, seeded

HEADS = 2
HEAD_WIDTH = 16
AXES = (4, 6, 6)
"""Rotary width of text index, row and column: in all HEAD_WIDTH."""

IDEOGRAM_LAYERS = 36
READ_LAYERS = 13
"""Ideogram 4 reads so many of the text encoder's layers, the last among them."""


def fibo(seeds: Seeds) -> Any:
    """Bria FIBO: every block reads a layer of SmolLM3; Wan's autoencoder, one frame."""
    transformer = seeded(
        lambda: BriaFiboTransformer2DModel(
            in_channels=48,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=HEAD_WIDTH,
            num_attention_heads=HEADS,
            joint_attention_dim=2 * language_models.WIDTH,
            axes_dims_rope=list(AXES),
            text_encoder_dim=language_models.WIDTH,
        ),
        seeds.denoiser,
    )
    return BriaFiboPipeline(
        transformer=transformer,
        vae=wan_autoencoder(seed=seeds.shared),
        text_encoder=language_models.smollm3(seed=seeds.shared),
        tokenizer=language_tokenizers.glm(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def ideogram4(seeds: Seeds) -> Any:
    """Ideogram 4: a second transformer for the unconditional half, read by thirteen layers of Qwen3-VL."""

    def transformer(seed: int) -> Any:
        return seeded(
            lambda: Ideogram4Transformer2DModel(
                num_layers=2,
                attention_head_dim=HEAD_WIDTH,
                num_attention_heads=HEADS,
                intermediate_size=2 * HEADS * HEAD_WIDTH,
                adaln_dim=16,
                llm_features_dim=READ_LAYERS * language_models.WIDTH,
                mrope_section=(4, 2, 2),
            ),
            seed,
        )

    return Ideogram4Pipeline(
        transformer=transformer(seeds.denoiser),
        unconditional_transformer=transformer(seeds.denoiser + 1),
        vae=flux2_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.qwen3_vl(seed=seeds.shared, layers=IDEOGRAM_LAYERS),
        tokenizer=language_tokenizers.qwen(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
