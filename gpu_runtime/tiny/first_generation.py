"""Tiny pipelines of the first families of diffusers: latent diffusion with BERT, DeepFloyd IF, unCLIP…

Any throughout: untyped in diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    AltDiffusionPipeline,
    AmusedPipeline,
    AmusedScheduler,
    DDIMScheduler,
    DDPMScheduler,
    IFPipeline,
    LDMTextToImagePipeline,
    StableDiffusionLDM3DPipeline,
    StableUnCLIPPipeline,
    Transformer2DModel,
    UnCLIPPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    UniDiffuserPipeline,
    UVit2DModel,
    VQDiffusionPipeline,
    VQDiffusionScheduler,
    VQModel,
)
from torch import nn

from gpu_runtime.tiny import clip, language_models, language_tokenizers, t5
from gpu_runtime.tiny.autoencoders import kl_autoencoder
from gpu_runtime.tiny.seeding import Seeds, seeded
from gpu_runtime.tiny.stable_diffusion import BETAS
from gpu_runtime.tiny.two_stages import EMBEDDING, prior_scheduler, prior_transformer, vision_encoder
from gpu_runtime.weights.own_parts import own_part

CODES = 32
"""Entries of a codebook; really 4096 or 8192."""


def deepfloyd_if(seeds: Seeds) -> Any:
    """DeepFloyd IF, first stage: 64 pixels without an autoencoder, its variance learned."""
    unet = seeded(
        lambda: UNet2DConditionModel(
            sample_size=64,
            in_channels=3,
            out_channels=6,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=8,
            # The norm of the text has 32 groups whatever the configuration says.
            cross_attention_dim=32,
            encoder_hid_dim=t5.WIDTH,
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            resnet_time_scale_shift="scale_shift",
            cross_attention_norm="group_norm",
        ),
        seeds.denoiser,
    )
    return IFPipeline(
        unet=unet,
        text_encoder=t5.text_encoder(seed=seeds.shared),
        tokenizer=t5.tokenizer(512),
        scheduler=DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", thresholding=True, variance_type="learned_range"
        ),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def latent_diffusion(seeds: Seeds) -> Any:
    """The latent diffusion that Stable Diffusion comes from, read by a BERT of its own."""
    return LDMTextToImagePipeline(
        vqvae=kl_autoencoder("sd15", seed=seeds.shared, sample_size=256),
        bert=language_models.ldm_bert(seed=seeds.shared),
        tokenizer=language_tokenizers.bert(),
        unet=_unet(seeds.denoiser, cross_attention_dim=language_models.WIDTH, sample_size=32),
        scheduler=DDIMScheduler(**BETAS),
    )


def alt_diffusion(seeds: Seeds) -> Any:
    """AltDiffusion: Stable Diffusion read by XLM-RoBERTa."""
    return AltDiffusionPipeline(
        vae=kl_autoencoder("sd15", seed=seeds.shared),
        text_encoder=language_models.roberta_series(seed=seeds.shared, projected=EMBEDDING),
        tokenizer=language_tokenizers.xlm_roberta(),
        unet=_unet(seeds.denoiser, cross_attention_dim=EMBEDDING, sample_size=64),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def ldm3d(seeds: Seeds) -> Any:
    """LDM3D: Stable Diffusion whose autoencoder has a depth beside the colours."""
    return StableDiffusionLDM3DPipeline(
        vae=kl_autoencoder("sd15", seed=seeds.shared, in_channels=6, out_channels=6),
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared),
        tokenizer=clip.tokenizer(),
        unet=_unet(seeds.denoiser, cross_attention_dim=clip.VIT_L.width, sample_size=64),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def _text_decoder() -> Any:
    decoder = own_part("UniDiffuserTextDecoder")(
        prefix_length=77,
        prefix_inner_dim=clip.VIT_L.width,
        prefix_hidden_dim=clip.VIT_L.width,
        vocab_size=64,
        n_positions=128,
        n_embd=16,
        n_layer=1,
        n_head=2,
    )
    network = decoder.transformer
    # In released files both have the matrix; safetensors saves none twice.
    network.lm_head.weight = nn.Parameter(network.transformer.wte.weight.clone())
    return decoder


def unidiffuser(seeds: Seeds) -> Any:
    """UniDiffuser: noise of text, of the picture and of its embedding in one transformer."""
    width = clip.VIT_L.width
    unet = seeded(
        lambda: own_part("UniDiffuserModel")(
            text_dim=width,
            clip_img_dim=EMBEDDING,
            num_text_tokens=77,
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            activation_fn="gelu",
            num_embeds_ada_norm=1000,
            norm_type="unidiffuser",
            use_timestep_embedding=True,
            use_data_type_embedding=True,
        ),
        seeds.denoiser,
    )
    return UniDiffuserPipeline(
        vae=kl_autoencoder("sd15", seed=seeds.shared),
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared),
        image_encoder=vision_encoder(seeds.shared),
        clip_image_processor=None,
        clip_tokenizer=clip.tokenizer(),
        text_decoder=seeded(_text_decoder, seeds.shared),
        text_tokenizer=None,
        unet=unet,
        scheduler=DDIMScheduler(**BETAS, set_alpha_to_one=False),
    )


def _unet(seed: int, **settings: Any) -> Any:
    return seeded(
        lambda: UNet2DConditionModel(
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=2,
            **settings,
        ),
        seed,
    )


def stable_unclip(seeds: Seeds) -> Any:
    """Stable unCLIP: a prior's image embedding, with noise, guides Stable Diffusion 2."""
    return StableUnCLIPPipeline(
        prior_tokenizer=clip.tokenizer(),
        prior_text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared, is_projected=True),
        prior=prior_transformer(seeds.denoiser),
        prior_scheduler=prior_scheduler(),
        image_normalizer=seeded(lambda: own_part("StableUnCLIPImageNormalizer")(EMBEDDING), seeds.shared),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=clip.tokenizer(clip.PAD_WITH_BANG),
        text_encoder=clip.text_encoder(clip.VIT_H, seed=seeds.shared),
        unet=_unet(
            seeds.denoiser,
            cross_attention_dim=clip.VIT_H.width,
            class_embed_type="projection",
            projection_class_embeddings_input_dim=2 * EMBEDDING,
            sample_size=96,
        ),
        scheduler=DDIMScheduler(**BETAS, prediction_type="v_prediction", set_alpha_to_one=False),
        vae=kl_autoencoder("sd2", seed=seeds.shared),
    )


def karlo(seeds: Seeds) -> Any:
    """Karlo, an unCLIP in pixels: a prior, 64 pixels, and two steps up to 256."""
    time_width = 64
    text_proj = seeded(
        lambda: own_part("UnCLIPTextProjModel")(
            clip_extra_context_tokens=2,
            clip_embeddings_dim=EMBEDDING,
            time_embed_dim=time_width,
            cross_attention_dim=16,
        ),
        seeds.shared,
    )
    decoder = seeded(
        lambda: UNet2DConditionModel(
            sample_size=64,
            in_channels=3,
            out_channels=6,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=8,
            cross_attention_dim=16,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
        ),
        seeds.denoiser,
    )
    scheduler = {"prediction_type": "epsilon", "num_train_timesteps": 1000}
    return UnCLIPPipeline(
        prior=prior_transformer(seeds.denoiser),
        decoder=decoder,
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared, is_projected=True),
        tokenizer=clip.tokenizer(),
        text_proj=text_proj,
        super_res_first=_super_resolution(seeds.denoiser),
        super_res_last=_super_resolution(seeds.denoiser + 1),
        prior_scheduler=prior_scheduler(),
        decoder_scheduler=_unclip_scheduler("learned_range", **scheduler),
        super_res_scheduler=_unclip_scheduler("fixed_small_log", **scheduler),
    )


def _unclip_scheduler(variance_type: str, **settings: Any) -> Any:
    scheduler = prior_scheduler()
    return type(scheduler).from_config(scheduler.config, variance_type=variance_type, **settings)


def _super_resolution(seed: int) -> Any:
    return seeded(
        lambda: UNet2DModel(
            sample_size=256,
            in_channels=6,
            out_channels=3,
            down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
            up_block_types=("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=8,
            resnet_time_scale_shift="scale_shift",
            add_attention=False,
        ),
        seed,
    )


def amused(seeds: Seeds) -> Any:
    """aMUSEd: guesses masked codes of the picture, all at once and the uncertain ones again."""
    transformer = seeded(
        lambda: UVit2DModel(
            hidden_size=16,
            cond_embed_dim=EMBEDDING,
            micro_cond_encode_dim=8,
            micro_cond_embed_dim=5 * 8,
            encoder_hidden_size=EMBEDDING,
            vocab_size=CODES + 1,
            codebook_size=CODES,
            in_channels=16,
            block_out_channels=16,
            num_res_blocks=1,
            block_num_heads=2,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            sample_size=32,
        ),
        seeds.denoiser,
    )
    return AmusedPipeline(
        vqvae=_codes(seeds.shared, is_latent_free=True),
        tokenizer=clip.tokenizer(),
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared, is_projected=True),
        transformer=transformer,
        scheduler=AmusedScheduler(mask_token_id=CODES),
    )


def vq_diffusion(seeds: Seeds) -> Any:
    """VQ-Diffusion: a picture of 32 x 32 codes whose noise is masks."""
    transformer = seeded(
        lambda: Transformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            cross_attention_dim=EMBEDDING,
            attention_bias=True,
            sample_size=32,
            num_vector_embeds=CODES + 1,
            num_embeds_ada_norm=100,
            norm_type="ada_norm",
            activation_fn="geglu-approximate",
        ),
        seeds.denoiser,
    )
    embeddings = own_part("LearnedClassifierFreeSamplingEmbeddings")
    return VQDiffusionPipeline(
        vqvae=_codes(seeds.shared),
        text_encoder=clip.text_encoder(clip.VIT_L, seed=seeds.shared),
        tokenizer=clip.tokenizer(),
        transformer=transformer,
        scheduler=VQDiffusionScheduler(num_vec_classes=CODES + 1),
        learned_classifier_free_sampling_embeddings=seeded(
            lambda: embeddings(learnable=True, hidden_size=EMBEDDING, length=77), seeds.shared
        ),
    )


def _codes(seed: int, *, is_latent_free: bool = False) -> Any:
    """An autoencoder of factor 8 over a codebook; `is_latent_free` decodes codes, not what they mean."""
    return seeded(
        lambda: VQModel(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8,) * 4,
            layers_per_block=1,
            norm_num_groups=8,
            latent_channels=8,
            vq_embed_dim=8,
            num_vq_embeddings=CODES,
            lookup_from_codebook=is_latent_free,
        ),
        seed,
    )
