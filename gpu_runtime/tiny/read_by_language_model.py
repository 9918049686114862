"""Tiny pipelines of the families whose prompts are read by a language model: Sana, FLUX.2, Qwen-Image…

Any throughout: untyped in diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    CogView4Pipeline,
    CogView4Transformer2DModel,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinKVPipeline,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
    PRXPipeline,
    PRXPixelPipeline,
    PRXTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    ZImageOmniPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import Siglip2ImageProcessorPil

from gpu_runtime.tiny import clip, language_models, language_tokenizers, t5, vision_models
from gpu_runtime.tiny.autoencoders import (
    COGVIEW4,
    deep_compression_autoencoder,
    flux2_autoencoder,
    kl_autoencoder,
)
from gpu_runtime.tiny.seeding import Seeds, seeded

HEADS = 2
HEAD_WIDTH = 16
WIDTH = HEADS * HEAD_WIDTH
AXES = (4, 6, 6)
"""Rotary width of text index, row and column: in all HEAD_WIDTH."""

LONG_CLIP_TOKENS = 248

KLEIN_LAYERS = 28
"""FLUX.2 klein reads the text encoder after its layers 9, 18 and 27."""


def sana(seeds: Seeds) -> Any:
    """Sana: linear attention on latents of factor 32, read by Gemma 2."""
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return _sana(seeds, SanaPipeline, scheduler)


def sana_sprint(seeds: Seeds) -> Any:
    """Sana-Sprint: one to four steps, its guidance an input of the network."""
    return _sana(
        seeds, SanaSprintPipeline, SCMScheduler(), guidance_embeds=True, qk_norm="rms_norm_across_heads"
    )


def _sana(seeds: Seeds, pipeline: Any, scheduler: Any, **settings: Any) -> Any:
    transformer = seeded(
        lambda: SanaTransformer2DModel(
            num_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            num_cross_attention_heads=HEADS,
            cross_attention_head_dim=HEAD_WIDTH,
            cross_attention_dim=WIDTH,
            caption_channels=language_models.WIDTH,
            **settings,
        ),
        seeds.denoiser,
    )
    return pipeline(
        transformer=transformer,
        vae=deep_compression_autoencoder(seed=seeds.shared),
        text_encoder=language_models.gemma2(seed=seeds.shared),
        tokenizer=language_tokenizers.gemma(),
        scheduler=scheduler,
    )


def lumina(seeds: Seeds) -> Any:
    """Lumina-Next."""
    transformer = seeded(
        lambda: LuminaNextDiT2DModel(
            sample_size=128,
            hidden_size=WIDTH,
            num_layers=2,
            num_attention_heads=HEADS,
            num_kv_heads=1,
            multiple_of=16,
            cross_attention_dim=language_models.WIDTH,
        ),
        seeds.denoiser,
    )
    return LuminaPipeline(
        transformer=transformer,
        vae=kl_autoencoder("sdxl", seed=seeds.shared),
        text_encoder=language_models.gemma(seed=seeds.shared),
        tokenizer=language_tokenizers.gemma(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def lumina2(seeds: Seeds) -> Any:
    """Lumina-Image 2.0."""
    transformer = seeded(
        lambda: Lumina2Transformer2DModel(
            hidden_size=WIDTH,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=HEADS,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=AXES,
            cap_feat_dim=language_models.WIDTH,
        ),
        seeds.denoiser,
    )
    return Lumina2Pipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=language_models.gemma2(seed=seeds.shared),
        tokenizer=language_tokenizers.gemma(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
    )


def cogview4(seeds: Seeds) -> Any:
    """CogView4, read by GLM-4."""
    transformer = seeded(
        lambda: CogView4Transformer2DModel(
            num_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            text_embed_dim=language_models.WIDTH,
            time_embed_dim=16,
            condition_dim=4,
            rope_axes_dim=(64, 64),
        ),
        seeds.denoiser,
    )
    shifting = {"base_shift": 0.25, "max_shift": 0.75, "base_image_seq_len": 256, "max_image_seq_len": 4096}
    return CogView4Pipeline(
        transformer=transformer,
        vae=kl_autoencoder("sd3", seed=seeds.shared, **COGVIEW4),
        text_encoder=language_models.glm(seed=seeds.shared),
        tokenizer=language_tokenizers.glm(),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, time_shift_type="linear", **shifting
        ),
    )


def flux2_klein(seeds: Seeds, *, has_cache: bool = False) -> Any:
    """FLUX.2 klein: no guidance input, read by three layers of Qwen3; or the form that caches references."""
    transformer = seeded(
        lambda: Flux2Transformer2DModel(
            num_layers=1,
            num_single_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            joint_attention_dim=3 * language_models.WIDTH,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        seeds.denoiser,
    )
    pipeline = Flux2KleinKVPipeline if has_cache else Flux2KleinPipeline
    return pipeline(
        transformer=transformer,
        vae=flux2_autoencoder(seed=seeds.shared),
        text_encoder=language_models.qwen3(seed=seeds.shared, layers=KLEIN_LAYERS, is_causal=True),
        tokenizer=language_tokenizers.qwen(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        is_distilled=True,
    )


def z_image(seeds: Seeds) -> Any:
    """Z-Image, Turbo as released: eight steps, no guidance."""
    transformer = seeded(
        lambda: ZImageTransformer2DModel(
            dim=WIDTH,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=HEADS,
            n_kv_heads=HEADS,
            cap_feat_dim=language_models.WIDTH,
            axes_dims=list(AXES),
        ),
        seeds.denoiser,
    )
    return ZImagePipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=language_models.qwen3(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def z_image_omni(seeds: Seeds) -> Any:
    """Z-Image-Omni: takes pictures as well, seen by SigLIP 2."""
    transformer = seeded(
        lambda: ZImageTransformer2DModel(
            dim=WIDTH,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=HEADS,
            n_kv_heads=HEADS,
            cap_feat_dim=language_models.WIDTH,
            siglip_feat_dim=vision_models.SIGLIP_WIDTH,
            axes_dims=list(AXES),
        ),
        seeds.denoiser,
    )
    return ZImageOmniPipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=language_models.qwen3(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        siglip=vision_models.siglip2(seed=seeds.shared),
        siglip_processor=Siglip2ImageProcessorPil(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def ovis_image(seeds: Seeds) -> Any:
    """Ovis-Image: FLUX.1's layout, read by Qwen3."""
    transformer = seeded(
        lambda: OvisImageTransformer2DModel(
            num_layers=1,
            num_single_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            joint_attention_dim=language_models.WIDTH,
            axes_dims_rope=AXES,
        ),
        seeds.denoiser,
    )
    return OvisImagePipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=language_models.qwen3(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
    )


def prx(seeds: Seeds) -> Any:
    """PRX, read by T5Gemma."""
    transformer = seeded(
        lambda: PRXTransformer2DModel(
            context_in_dim=language_models.WIDTH,
            hidden_size=WIDTH,
            mlp_ratio=2.0,
            num_heads=HEADS,
            depth=2,
            axes_dim=[8, 8],
        ),
        seeds.denoiser,
    )
    return PRXPipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=language_models.t5gemma(seed=seeds.shared),
        # The pipeline pads every prompt to the longest.
        tokenizer=language_tokenizers.gemma(longest=256),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def prx_pixel(seeds: Seeds) -> Any:
    """PRX without an autoencoder: patches of pixels through a bottleneck, read by Qwen3-VL."""
    transformer = seeded(
        lambda: PRXTransformer2DModel(
            in_channels=3,
            patch_size=16,
            context_in_dim=language_models.WIDTH,
            hidden_size=WIDTH,
            mlp_ratio=2.0,
            num_heads=HEADS,
            depth=2,
            axes_dim=[8, 8],
            bottleneck_size=16,
            resolution_embeds=True,
        ),
        seeds.denoiser,
    )
    return PRXPixelPipeline(
        transformer=transformer,
        text_encoder=language_models.qwen3(seed=seeds.shared),
        tokenizer=language_tokenizers.qwen(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def hidream(seeds: Seeds) -> Any:
    """HiDream-I1: experts, read by two CLIPs of 248 tokens, T5 and Llama."""
    transformer = seeded(
        lambda: HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            caption_channels=[t5.WIDTH, language_models.WIDTH],
            text_emb_dim=clip.VIT_L.width + clip.VIT_G.width,
            axes_dims_rope=(8, 4, 4),
            llama_layers=[0, 1],
            force_inference_output=True,
        ),
        seeds.denoiser,
    )

    def clip_encoder(shape: clip.ClipShape) -> Any:
        return clip.text_encoder(shape, seed=seeds.shared, is_projected=True, tokens=LONG_CLIP_TOKENS)

    return HiDreamImagePipeline(
        transformer=transformer,
        # The pipeline denoises 128 x 128 latents whatever is asked, with the real factor a megapixel.
        vae=kl_autoencoder("flux", seed=seeds.shared, levels=2),
        text_encoder=clip_encoder(clip.VIT_L),
        text_encoder_2=clip_encoder(clip.VIT_G),
        text_encoder_3=t5.text_encoder(seed=seeds.shared),
        text_encoder_4=language_models.llama(seed=seeds.shared),
        tokenizer=clip.tokenizer(clip.PAD_WITH_END, LONG_CLIP_TOKENS),
        tokenizer_2=clip.tokenizer(clip.PAD_WITH_BANG, LONG_CLIP_TOKENS),
        tokenizer_3=t5.tokenizer(512),
        tokenizer_4=language_tokenizers.glm(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
