"""Tiny pipelines of the families whose prompts are read by a model of language and pictures.

Any throughout: untyped in diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    AdaptiveProjectedMixGuidance,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import ByT5Tokenizer

from gpu_runtime.tiny import language_models, language_tokenizers, vision_models
from gpu_runtime.tiny.autoencoders import flux2_autoencoder, hunyuan_autoencoder, qwen_autoencoder
from gpu_runtime.tiny.seeding import Seeds, seeded

HEADS = 2
HEAD_WIDTH = 16
WIDTH = HEADS * HEAD_WIDTH
AXES = (4, 6, 6)
"""Rotary width of text index, row and column: in all HEAD_WIDTH."""

FLUX2_LAYERS = 31
"""FLUX.2 reads the text encoder after its layers 10, 20 and 30."""


def qwen_image(seeds: Seeds) -> Any:
    """Qwen-Image, read by Qwen2.5-VL."""
    transformer = seeded(
        lambda: QwenImageTransformer2DModel(
            num_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            joint_attention_dim=language_models.WIDTH,
            axes_dims_rope=AXES,
        ),
        seeds.denoiser,
    )
    shifting = {"base_shift": 0.5, "max_shift": 0.9, "shift_terminal": 0.02, "max_image_seq_len": 8192}
    return QwenImagePipeline(
        transformer=transformer,
        vae=qwen_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.qwen25_vl(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, **shifting),
    )


def hunyuan_image(seeds: Seeds) -> Any:
    """HunyuanImage 2.1: latents of factor 32, a second reader for words in quotes, a guider."""
    transformer = seeded(
        lambda: HunyuanImageTransformer2DModel(
            in_channels=32,
            out_channels=32,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            text_embed_dim=language_models.WIDTH,
            text_embed_2_dim=language_models.WIDTH,
            rope_axes_dim=(8, 8),
        ),
        seeds.denoiser,
    )
    return HunyuanImagePipeline(
        transformer=transformer,
        vae=hunyuan_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.qwen25_vl(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        text_encoder_2=language_models.byt5(seed=seeds.shared),
        tokenizer_2=ByT5Tokenizer(extra_ids=0),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        guider=AdaptiveProjectedMixGuidance(guidance_scale=3.5),
    )


def flux2(seeds: Seeds) -> Any:
    """FLUX.2 dev: guidance is an input of the network; read by three layers of Mistral."""
    transformer = seeded(
        lambda: Flux2Transformer2DModel(
            num_layers=1,
            num_single_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            joint_attention_dim=3 * language_models.WIDTH,
            axes_dims_rope=(4, 4, 4, 4),
        ),
        seeds.denoiser,
    )
    return Flux2Pipeline(
        transformer=transformer,
        vae=flux2_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.mistral3(seed=seeds.shared, layers=FLUX2_LAYERS, is_causal=True),
        tokenizer=language_tokenizers.mistral(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
    )


def ernie_image(seeds: Seeds) -> Any:
    """ERNIE-Image on FLUX.2's autoencoder."""
    transformer = seeded(
        lambda: ErnieImageTransformer2DModel(
            hidden_size=WIDTH,
            num_attention_heads=HEADS,
            num_layers=2,
            ffn_hidden_size=2 * WIDTH,
            text_in_dim=language_models.WIDTH,
            rope_axes_dim=AXES,
        ),
        seeds.denoiser,
    )
    return ErnieImagePipeline(
        transformer=transformer,
        vae=flux2_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.mistral3(seed=seeds.shared),
        tokenizer=language_tokenizers.mistral(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def krea2(seeds: Seeds) -> Any:
    """Krea 2 on Qwen-Image's autoencoder; its text is a mix of the encoder's layers."""
    layers = (1, 2)
    transformer = seeded(
        lambda: Krea2Transformer2DModel(
            num_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=1,
            attention_head_dim=HEAD_WIDTH,
            intermediate_size=2 * WIDTH,
            timestep_embed_dim=32,
            text_hidden_dim=language_models.WIDTH,
            num_text_layers=len(layers),
            text_num_attention_heads=HEADS,
            text_num_key_value_heads=HEADS,
            text_intermediate_size=2 * language_models.WIDTH,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=AXES,
        ),
        seeds.denoiser,
    )
    return Krea2Pipeline(
        transformer=transformer,
        vae=qwen_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.qwen3_vl(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder_select_layers=layers,
    )
