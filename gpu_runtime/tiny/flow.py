"""Tiny Stable Diffusion 3 and FLUX.1: multimodal transformers on 16 latent channels.

Head counts follow the rules by which the original files are read: as many heads as blocks (SD3), and as wide
as the norms of queries and keys say (FLUX).
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)

from gpu_runtime.tiny import clip, t5
from gpu_runtime.tiny.autoencoders import kl_autoencoder
from gpu_runtime.tiny.seeding import Seeds, seeded

SD3_BLOCKS = 2
SD3_HEAD_WIDTH = 16
FLUX_HEADS = 2
FLUX_AXES = (4, 14, 14)
"""Rotary width of text index, row and column: 1/4 of the real 16, 56, 56."""

FILL_CHANNELS = 384
"""Packed latents, the masked image's and the mask: 64 + 64 + 256."""


def sd3(seeds: Seeds, *, is_normed: bool = False, dual_blocks: int = 0) -> Any:
    """Stable Diffusion 3 medium; 3.5 norms queries and keys, 3.5 medium has blocks with two attentions."""
    transformer = seeded(
        lambda: SD3Transformer2DModel(
            sample_size=128,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=SD3_BLOCKS,
            num_attention_heads=SD3_BLOCKS,
            attention_head_dim=SD3_HEAD_WIDTH,
            caption_projection_dim=SD3_BLOCKS * SD3_HEAD_WIDTH,
            joint_attention_dim=t5.WIDTH,
            pooled_projection_dim=clip.VIT_L.width + clip.VIT_G.width,
            pos_embed_max_size=64,
            qk_norm="rms_norm" if is_normed else None,
            dual_attention_layers=tuple(range(dual_blocks)),
        ),
        seeds.denoiser,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        vae=kl_autoencoder("sd3", seed=seeds.shared),
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared, is_projected=True),
        text_encoder_2=clip.text_encoder(clip.VIT_G, seed=seeds.shared, is_projected=True),
        text_encoder_3=t5.text_encoder(seed=seeds.shared),
        tokenizer=clip.tokenizer(clip.PAD_WITH_END),
        tokenizer_2=clip.tokenizer(clip.PAD_WITH_BANG),
        tokenizer_3=t5.tokenizer(512),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux(
    seeds: Seeds, *, is_distilled: bool = True, in_channels: int = 64, pipeline: Any = FluxPipeline
) -> Any:
    """FLUX.1 dev, whose guidance is an input of the network; schnell has none. Any: untyped in diffusers."""
    transformer = seeded(
        lambda: FluxTransformer2DModel(
            patch_size=1,
            in_channels=in_channels,
            out_channels=64,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=sum(FLUX_AXES),
            num_attention_heads=FLUX_HEADS,
            joint_attention_dim=t5.WIDTH,
            pooled_projection_dim=clip.VIT_L.width,
            guidance_embeds=is_distilled,
            axes_dims_rope=FLUX_AXES,
        ),
        seeds.denoiser,
    )
    shifting = {"use_dynamic_shifting": True, "shift": 3.0, "base_shift": 0.5, "max_shift": 1.15}
    return pipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared),
        text_encoder_2=t5.text_encoder(seed=seeds.shared),
        tokenizer=clip.tokenizer(clip.PAD_WITH_END),
        tokenizer_2=t5.tokenizer(512 if is_distilled else 256),
        scheduler=FlowMatchEulerDiscreteScheduler(**(shifting if is_distilled else {"shift": 1.0})),
    )


def flux_schnell(seeds: Seeds) -> Any:
    """FLUX.1 schnell: four steps, no guidance input."""
    return flux(seeds, is_distilled=False)


def flux_kontext(seeds: Seeds) -> Any:
    """FLUX.1 Kontext: dev's network, given a picture as further tokens."""
    return flux(seeds, pipeline=FluxKontextPipeline)


def flux_fill(seeds: Seeds) -> Any:
    """FLUX.1 Fill: dev's network with the picture and its mask as further channels."""
    return flux(seeds, in_channels=FILL_CHANNELS, pipeline=FluxFillPipeline)
