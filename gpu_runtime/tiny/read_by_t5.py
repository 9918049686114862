"""Tiny pipelines of the families whose prompts are read by a T5: PixArt, Chroma, AuraFlow and others.

Any throughout: untyped in diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    BriaPipeline,
    BriaTransformer2DModel,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HunyuanDiT2DModel,
    HunyuanDiTPipeline,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    VQModel,
)

from gpu_runtime.tiny import language_models, language_tokenizers, t5
from gpu_runtime.tiny.autoencoders import COGVIEW4, kl_autoencoder
from gpu_runtime.tiny.seeding import Seeds, seeded

HEADS = 2
HEAD_WIDTH = 8
WIDTH = HEADS * HEAD_WIDTH


def pixart_alpha(seeds: Seeds) -> Any:
    """PixArt-alpha: Stable Diffusion's autoencoder, sizes as a second condition."""
    return _pixart(seeds, PixArtAlphaPipeline, "sd15", has_sizes=True, tokens=120)


def pixart_sigma(seeds: Seeds) -> Any:
    """PixArt-sigma: XL's autoencoder, 300 tokens."""
    return _pixart(seeds, PixArtSigmaPipeline, "sdxl", has_sizes=False, tokens=300)


def _pixart(seeds: Seeds, pipeline: Any, vae: str, *, has_sizes: bool, tokens: int) -> Any:
    transformer = seeded(
        lambda: PixArtTransformer2DModel(
            sample_size=128,
            num_layers=2,
            # A third of the width for each embedded size.
            num_attention_heads=3,
            attention_head_dim=HEAD_WIDTH,
            cross_attention_dim=3 * HEAD_WIDTH,
            caption_channels=t5.WIDTH,
            use_additional_conditions=has_sizes,
        ),
        seeds.denoiser,
    )
    return pipeline(
        transformer=transformer,
        vae=kl_autoencoder(vae, seed=seeds.shared),
        text_encoder=t5.text_encoder(seed=seeds.shared),
        tokenizer=t5.tokenizer(tokens),
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )


def chroma(seeds: Seeds) -> Any:
    """Chroma: FLUX.1 schnell without CLIP, its modulation computed by one small network."""
    transformer = seeded(
        lambda: ChromaTransformer2DModel(
            num_layers=2,
            num_single_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=32,
            joint_attention_dim=t5.WIDTH,
            axes_dims_rope=(4, 14, 14),
            approximator_num_channels=8,
            approximator_hidden_dim=32,
            approximator_layers=1,
        ),
        seeds.denoiser,
    )
    return ChromaPipeline(
        transformer=transformer,
        vae=kl_autoencoder("flux", seed=seeds.shared),
        text_encoder=t5.text_encoder(seed=seeds.shared),
        tokenizer=t5.tokenizer(512),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
    )


def auraflow(seeds: Seeds) -> Any:
    """AuraFlow: Pile-T5 with Llama's tokenizer, XL's autoencoder."""
    transformer = seeded(
        lambda: AuraFlowTransformer2DModel(
            num_mmdit_layers=1,
            num_single_dit_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            caption_projection_dim=WIDTH,
            joint_attention_dim=language_models.WIDTH,
            pos_embed_max_size=1024,
        ),
        seeds.denoiser,
    )
    return AuraFlowPipeline(
        transformer=transformer,
        vae=kl_autoencoder("sdxl", seed=seeds.shared),
        text_encoder=language_models.umt5(seed=seeds.shared),
        tokenizer=language_tokenizers.llama(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
    )


def cogview3(seeds: Seeds) -> Any:
    """CogView3-Plus."""
    transformer = seeded(
        lambda: CogView3PlusTransformer2DModel(
            num_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            text_embed_dim=t5.WIDTH,
            time_embed_dim=16,
            condition_dim=4,
            pos_embed_max_size=64,
        ),
        seeds.denoiser,
    )
    scheduler = CogVideoXDDIMScheduler(
        beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction", timestep_spacing="trailing"
    )
    return CogView3PlusPipeline(
        transformer=transformer,
        vae=kl_autoencoder("sd3", seed=seeds.shared, **COGVIEW4),
        text_encoder=t5.text_encoder(seed=seeds.shared),
        tokenizer=t5.tokenizer(224),
        scheduler=scheduler,
    )


def hunyuan_dit(seeds: Seeds) -> Any:
    """Hunyuan-DiT: a bilingual CLIP beside a multilingual T5."""
    transformer = seeded(
        lambda: HunyuanDiT2DModel(
            sample_size=128,
            in_channels=4,
            patch_size=2,
            num_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_WIDTH,
            hidden_size=WIDTH,
            cross_attention_dim=language_models.WIDTH,
            cross_attention_dim_t5=t5.WIDTH,
            pooled_projection_dim=WIDTH,
        ),
        seeds.denoiser,
    )
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.02, beta_schedule="scaled_linear", prediction_type="v_prediction"
    )
    return HunyuanDiTPipeline(
        transformer=transformer,
        vae=kl_autoencoder("sdxl", seed=seeds.shared),
        text_encoder=language_models.bert(seed=seeds.shared),
        tokenizer=language_tokenizers.bert(),
        text_encoder_2=t5.text_encoder(seed=seeds.shared),
        tokenizer_2=t5.tokenizer(256),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def kandinsky3(seeds: Seeds) -> Any:
    """Kandinsky 3: a UNet over the latents of a MoVQ."""
    unet = seeded(
        lambda: Kandinsky3UNet(
            time_embedding_dim=8,
            groups=4,
            attention_head_dim=8,
            layers_per_block=2,
            block_out_channels=(8, 16, 32, 64),
            cross_attention_dim=WIDTH,
            encoder_hid_dim=t5.WIDTH,
        ),
        seeds.denoiser,
    )
    movq = seeded(
        lambda: VQModel(
            # The spatial norms have 32 groups whatever the configuration says.
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
            up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            num_vq_embeddings=32,
            vq_embed_dim=4,
            norm_type="spatial",
        ),
        seeds.shared,
    )
    return Kandinsky3Pipeline(
        unet=unet,
        movq=movq,
        text_encoder=t5.text_encoder(seed=seeds.shared),
        tokenizer=t5.tokenizer(128),
        scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=True, thresholding=False),
    )


def bria(seeds: Seeds) -> Any:
    """Bria 3: FLUX.1's blocks on four latent channels."""
    transformer = seeded(
        lambda: BriaTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            num_attention_heads=HEADS,
            attention_head_dim=16,
            joint_attention_dim=t5.WIDTH,
            axes_dims_rope=[4, 6, 6],
        ),
        seeds.denoiser,
    )
    return BriaPipeline(
        transformer=transformer,
        vae=kl_autoencoder("sdxl", seed=seeds.shared, shift_factor=0.0),
        text_encoder=t5.text_encoder(seed=seeds.shared),
        tokenizer=t5.tokenizer(128),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
