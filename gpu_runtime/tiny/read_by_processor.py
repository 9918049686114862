"""Tiny pipelines of the families that take texts and pictures through one processor, for making and editing.

Any throughout: untyped in diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderTiny,
    BriaFibo2Pipeline,
    BriaFibo2Transformer2DModel,
    DreamLiteMobilePipeline,
    DreamLitePipeline,
    DreamLiteUNetModel,
    FlowMatchEulerDiscreteScheduler,
    Kandinsky5T2IPipeline,
    Kandinsky5Transformer3DModel,
    LongCatImageEditPipeline,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
    NucleusMoEImagePipeline,
    NucleusMoEImageTransformer2DModel,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
    QwenImageEditPlusPipeline,
)
from torch import nn
from transformers import Qwen2VLImageProcessorPil

from gpu_runtime.tiny import clip, language_models, language_tokenizers, vision_models
from gpu_runtime.tiny.autoencoders import (
    flux2_autoencoder,
    kl_autoencoder,
    qwen21_autoencoder,
    qwen_autoencoder,
)
from gpu_runtime.tiny.read_by_vision_model import qwen_image
from gpu_runtime.tiny.seeding import SPREAD, Seeds, seeded
from gpu_runtime.weights.processors import make_processor

HEADS = 2
HEAD_WIDTH = 16
WIDTH = HEADS * HEAD_WIDTH
AXES = (4, 6, 6)
"""Rotary width of text index, row and column: in all HEAD_WIDTH."""

PATCHES = {"Qwen2VLProcessor": 14, "Qwen3VLProcessor": 16}
"""Pixels a side of what the text encoders see at once."""

MAX_PIXELS = 1 << 24

FIBO2_LAYERS = 37
"""FIBO 2 reads the text encoder after layers up to its 36th."""

NUCLEUS_LAYERS = 8
"""Nucleus reads the text encoder eight layers before its end."""


def _processor(class_name: str) -> Any:
    tokenizer = language_tokenizers.qwen()
    pictures = Qwen2VLImageProcessorPil(patch_size=PATCHES[class_name], max_pixels=MAX_PIXELS)
    return make_processor(class_name, tokenizer, pictures, tokenizer.chat_template)


def kandinsky5(seeds: Seeds) -> Any:
    """Kandinsky 5 Lite for images: one frame of its transformer for videos, FLUX.1's autoencoder."""
    transformer = seeded(
        lambda: Kandinsky5Transformer3DModel(
            in_visual_dim=16,
            out_visual_dim=16,
            in_text_dim=language_models.WIDTH,
            in_text_dim2=clip.VIT_L.width,
            time_dim=16,
            model_dim=WIDTH,
            ff_dim=2 * WIDTH,
            num_text_blocks=1,
            num_visual_blocks=1,
            axes_dims=AXES,
        ),
        seeds.denoiser,
    )
    return Kandinsky5T2IPipeline(
        transformer=transformer,
        # The pipeline denoises 128 x 128 latents or more whatever is asked, with the real factor a megapixel.
        vae=kl_autoencoder("flux", seed=seeds.shared, levels=2),
        text_encoder=vision_models.qwen25_vl(seed=seeds.shared),
        tokenizer=_processor("Qwen2VLProcessor"),
        text_encoder_2=clip.text_encoder(clip.VIT_L, seed=seeds.shared),
        tokenizer_2=clip.tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def fibo2(seeds: Seeds) -> Any:
    """Bria FIBO 2: captions as JSON, read by Qwen3-VL, on FLUX.2's autoencoder."""
    transformer = seeded(
        lambda: BriaFibo2Transformer2DModel(
            dim=WIDTH,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=HEADS,
            cap_feat_dim=3 * language_models.WIDTH,
            injection_layer_ids=(0, 0, 1, 1, 1),
            perceiver_num_layers=1,
            min_num_gist_tokens=8,
            max_num_gist_tokens=16,
            gist_step=8,
            axes_dims=AXES,
            axes_lens=(2048, 512, 512),
        ),
        seeds.denoiser,
    )
    return BriaFibo2Pipeline(
        transformer=transformer,
        vae=flux2_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.qwen3_vl(seed=seeds.shared, layers=FIBO2_LAYERS, is_causal=True),
        processor=_processor("Qwen3VLProcessor"),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def qwen_image_edit(seeds: Seeds) -> Any:
    """Qwen-Image-Edit: Qwen-Image that sees the picture it is to change."""
    made = qwen_image(seeds)
    return QwenImageEditPlusPipeline(**made.components, processor=_processor("Qwen2VLProcessor"))


def longcat_image_edit(seeds: Seeds) -> Any:
    """LongCat-Image-Edit."""
    return LongCatImageEditPipeline(**longcat_image(seeds).components)


def longcat_image(seeds: Seeds) -> Any:
    """LongCat-Image: FLUX.1's layout, read by Qwen2.5-VL letter by letter inside of quotes."""
    transformer = seeded(
        lambda: LongCatImageTransformer2DModel(
            num_layers=1,
            num_single_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            joint_attention_dim=language_models.WIDTH,
            pooled_projection_dim=language_models.WIDTH,
            axes_dims_rope=AXES,
        ),
        seeds.denoiser,
    )
    return LongCatImagePipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=vision_models.qwen25_vl(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        text_processor=_processor("Qwen2VLProcessor"),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def dreamlite(seeds: Seeds) -> Any:
    """DreamLite: a small UNet on a tiny autoencoder."""
    return _dreamlite(seeds, DreamLitePipeline)


def dreamlite_mobile(seeds: Seeds) -> Any:
    """DreamLite distilled to four steps without guidance."""
    return _dreamlite(seeds, DreamLiteMobilePipeline)


def _dreamlite(seeds: Seeds, pipeline: Any) -> Any:
    unet = seeded(
        lambda: DreamLiteUNetModel(
            block_out_channels=(16, 16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=8,
            cross_attention_dim=language_models.WIDTH,
            ff_mult=2,
        ),
        seeds.denoiser,
    )
    vae = seeded(
        lambda: AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
        ),
        seeds.shared,
    )
    return pipeline(
        unet=unet,
        vae=vae,
        text_encoder=vision_models.qwen3_vl(seed=seeds.shared, is_causal=True),
        tokenizer=language_tokenizers.qwen(),
        processor=_processor("Qwen3VLProcessor"),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def qwen_image_21(seeds: Seeds) -> Any:
    """Qwen-Image 2.1: one stream over text and image, an autoencoder of factor 16 with transparency."""
    transformer = seeded(
        lambda: QwenImage21Transformer2DModel(
            num_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            context_in_dim=language_models.WIDTH,
            axes_dims_rope=AXES,
        ),
        seeds.denoiser,
    )
    return QwenImage21Pipeline(
        transformer=transformer,
        vae=qwen21_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.qwen3_vl(seed=seeds.shared, is_causal=True),
        processor=_processor("Qwen3VLProcessor"),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def _nucleus_transformer() -> Any:
    transformer = NucleusMoEImageTransformer2DModel(
        out_channels=16,
        num_layers=5,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        attention_head_dim=HEAD_WIDTH,
        joint_attention_dim=language_models.WIDTH,
        axes_dims_rope=AXES,
        # Rounded down to multiples of 128: less would be none.
        mlp_ratio=6.0,
        num_experts=4,
        moe_intermediate_dim=WIDTH,
        capacity_factors=2.0,
    )
    for parameter in transformer.parameters():
        if parameter.ndim == 3:
            # The experts: the library leaves them to a checkpoint.
            nn.init.normal_(parameter, std=SPREAD)
    return transformer


def nucleus_image(seeds: Seeds) -> Any:
    """NucleusMoE-Image: experts that choose their tokens, on Qwen-Image's autoencoder."""
    transformer = seeded(_nucleus_transformer, seeds.denoiser)
    return NucleusMoEImagePipeline(
        transformer=transformer,
        vae=qwen_autoencoder(seed=seeds.shared),
        text_encoder=vision_models.qwen3_vl(seed=seeds.shared, layers=NUCLEUS_LAYERS, is_causal=True),
        processor=_processor("Qwen3VLProcessor"),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
