"""Tiny Stable Diffusion 1.x, 2.x and XL: every block kind and head count of the real networks, narrow.

Widths are 1/40 (1.x, XL) or 1/32 (2.x) of the real ones, and group norms have as many groups as the narrowest
block has channels. Only the number of transformer layers inside XL's attention blocks is smaller.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from gpu_runtime.tiny import clip
from gpu_runtime.tiny.autoencoders import kl_autoencoder
from gpu_runtime.tiny.seeding import Seeds, seeded

BETAS = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}
"""Noise schedule of all of them. Source: Rombach et al. 2022, arXiv:2112.10752, and its released files."""

INPAINT_CHANNELS = 9
"""Latents, the masked image's latents and the mask."""

TIME_IDS_WIDTH = 8
"""Width of each embedded size number; 256 in the real XL."""

ATTENTION_AT_TOP = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
ATTENTION_INSIDE = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")


def sd15(seeds: Seeds, *, is_inpaint: bool = False) -> Any:
    """Stable Diffusion 1.5, or its inpainting form."""
    unet = _unet(
        seeds.denoiser,
        blocks=ATTENTION_AT_TOP,
        block_out_channels=(8, 16, 32, 32),
        attention_head_dim=8,
        cross_attention_dim=clip.VIT_L.width,
        in_channels=INPAINT_CHANNELS if is_inpaint else 4,
    )
    scheduler = PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=False)
    return _first_generation(seeds, unet, scheduler, clip.VIT_L, clip.PAD_WITH_END, is_inpaint=is_inpaint)


def sd2(seeds: Seeds, *, is_v_prediction: bool = True) -> Any:
    """Stable Diffusion 2.1: v-prediction at 768 px, or the 512 px base that predicts noise."""
    unet = _unet(
        seeds.denoiser,
        blocks=ATTENTION_AT_TOP,
        block_out_channels=(10, 20, 40, 40),
        attention_head_dim=(5, 10, 20, 20),
        cross_attention_dim=clip.VIT_H.width,
        use_linear_projection=True,
        sample_size=96 if is_v_prediction else 64,
    )
    prediction = "v_prediction" if is_v_prediction else "epsilon"
    scheduler = DDIMScheduler(**BETAS, prediction_type=prediction, clip_sample=False, set_alpha_to_one=False)
    return _first_generation(seeds, unet, scheduler, clip.VIT_H, clip.PAD_WITH_BANG)


def sdxl(seeds: Seeds, *, is_inpaint: bool = False, is_turbo: bool = False) -> Any:
    """Stable Diffusion XL base; with an inpainting UNet; or with Turbo's noise scheduler."""
    unet = _unet(
        seeds.denoiser,
        blocks=ATTENTION_INSIDE,
        block_out_channels=(10, 20, 40),
        attention_head_dim=(5, 10, 20),
        transformer_layers_per_block=(1, 2, 3),
        cross_attention_dim=clip.VIT_L.width + clip.VIT_G.width,
        in_channels=INPAINT_CHANNELS if is_inpaint else 4,
        sample_size=64 if is_turbo else 128,
        **_size_conditions(numbers=6),
    )
    pipeline = StableDiffusionXLInpaintPipeline if is_inpaint else StableDiffusionXLPipeline
    return pipeline(
        unet=unet,
        vae=kl_autoencoder("sdxl", seed=seeds.shared),
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared),
        text_encoder_2=clip.text_encoder(clip.VIT_G, seed=seeds.shared, is_projected=True),
        tokenizer=clip.tokenizer(clip.PAD_WITH_END),
        tokenizer_2=clip.tokenizer(clip.PAD_WITH_BANG),
        scheduler=_turbo_scheduler() if is_turbo else _xl_scheduler(),
        force_zeros_for_empty_prompt=True,
    )


def sdxl_refiner(seeds: Seeds) -> Any:
    """The refiner of Stable Diffusion XL: one text encoder, four levels, an aesthetic score."""
    unet = _unet(
        seeds.denoiser,
        blocks=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        block_out_channels=(12, 24, 48, 48),
        attention_head_dim=(6, 12, 24, 24),
        transformer_layers_per_block=2,
        cross_attention_dim=clip.VIT_G.width,
        sample_size=128,
        **_size_conditions(numbers=5),
    )
    return StableDiffusionXLImg2ImgPipeline(
        unet=unet,
        vae=kl_autoencoder("sdxl", seed=seeds.shared),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=clip.text_encoder(clip.VIT_G, seed=seeds.shared, is_projected=True),
        tokenizer_2=clip.tokenizer(clip.PAD_WITH_BANG),
        scheduler=_xl_scheduler(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
    )


def _first_generation(
    seeds: Seeds,
    unet: Any,
    scheduler: Any,
    shape: clip.ClipShape,
    pad_token: str,
    *,
    is_inpaint: bool = False,
) -> Any:
    pipeline = StableDiffusionInpaintPipeline if is_inpaint else StableDiffusionPipeline
    return pipeline(
        unet=unet,
        vae=kl_autoencoder("sd15", seed=seeds.shared),
        text_encoder=clip.text_encoder(shape, seed=seeds.shared),
        tokenizer=clip.tokenizer(pad_token),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _unet(seed: int, *, blocks: tuple[str, ...], block_out_channels: tuple[int, ...], **settings: Any) -> Any:
    """UNet2DConditionModel; `settings` are its arguments. Any: untyped in diffusers."""
    mirrored = tuple(name.replace("Down", "Up") for name in reversed(blocks))
    values: dict[str, Any] = {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 2,
        "down_block_types": blocks,
        "up_block_types": mirrored,
        "block_out_channels": block_out_channels,
        "norm_num_groups": block_out_channels[0],
    }
    return seeded(lambda: UNet2DConditionModel(**(values | settings)), seed)


def _size_conditions(*, numbers: int) -> dict[str, Any]:
    """XL's second condition: the pooled text beside embedded sizes, crops and, for the refiner, a score."""
    return {
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": TIME_IDS_WIDTH,
        "projection_class_embeddings_input_dim": clip.VIT_G.width + numbers * TIME_IDS_WIDTH,
    }


def _xl_scheduler() -> Any:
    return EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", use_karras_sigmas=False)


def _turbo_scheduler() -> Any:
    return EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
