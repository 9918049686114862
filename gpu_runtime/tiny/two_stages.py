"""Tiny pipelines that first make an image's embedding from the text and then the image from that.

Released as two repositories each; these are both halves as one, the way diffusers saves its combined classes.
Any throughout: untyped in diffusers.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDPMScheduler,
    DDPMWuerstchenScheduler,
    KandinskyCombinedPipeline,
    KandinskyV22CombinedPipeline,
    PriorTransformer,
    StableCascadeCombinedPipeline,
    StableCascadeUNet,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
    WuerstchenCombinedPipeline,
)
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from gpu_runtime.tiny import clip, language_models, language_tokenizers
from gpu_runtime.tiny.seeding import Seeds, seeded
from gpu_runtime.weights.own_parts import own_part

EMBEDDING = clip.VIT_L.width
"""Width of an image's embedding; really 768 or 1280."""

CASCADE_WIDTH = 32


def kandinsky2(seeds: Seeds) -> Any:
    """Kandinsky 2.1: its decoder reads the text as well, in many languages."""
    unet = _kandinsky_unet(
        seeds.denoiser,
        addition_embed_type="text_image",
        encoder_hid_dim=language_models.WIDTH,
        encoder_hid_dim_type="text_image_proj",
    )
    return KandinskyCombinedPipeline(
        unet=unet,
        scheduler=_kandinsky_scheduler(),
        movq=_movq(seeds.shared),
        text_encoder=language_models.multilingual_clip(seed=seeds.shared, projected=EMBEDDING),
        tokenizer=language_tokenizers.xlm_roberta(),
        **_kandinsky_prior(seeds),
    )


def kandinsky22(seeds: Seeds) -> Any:
    """Kandinsky 2.2: its decoder sees nothing but the embedding."""
    unet = _kandinsky_unet(
        seeds.denoiser,
        addition_embed_type="image",
        encoder_hid_dim=EMBEDDING,
        encoder_hid_dim_type="image_proj",
    )
    return KandinskyV22CombinedPipeline(
        unet=unet,
        scheduler=_kandinsky_scheduler(),
        movq=_movq(seeds.shared),
        **_kandinsky_prior(seeds),
    )


def _kandinsky_scheduler() -> Any:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=True,
        clip_sample_range=2.0,
        variance_type="learned_range",
        sample_max_value=2.0,
    )


def _kandinsky_unet(seed: int, **settings: Any) -> Any:
    return seeded(
        lambda: UNet2DConditionModel(
            in_channels=4,
            out_channels=8,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=8,
            cross_attention_dim=EMBEDDING,
            resnet_time_scale_shift="scale_shift",
            class_embed_type=None,
            **settings,
        ),
        seed,
    )


def _movq(seed: int) -> Any:
    return seeded(
        lambda: VQModel(
            down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
            up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
            # Its spatial norms have 32 groups whatever the configuration says.
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=1,
            norm_type="spatial",
            latent_channels=4,
            vq_embed_dim=4,
            num_vq_embeddings=64,
        ),
        seed,
    )


def prior_transformer(seed: int) -> Any:
    """The network that makes an image's embedding of a text, unCLIP's."""
    return seeded(
        lambda: PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, num_layers=2, embedding_dim=EMBEDDING
        ),
        seed,
    )


def prior_scheduler() -> Any:
    """Its noise scheduler."""
    return UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0)


def vision_encoder(seed: int) -> Any:
    """CLIP's encoder of pictures."""
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=EMBEDDING,
    )
    return seeded(lambda: CLIPVisionModelWithProjection(config), seed)


def _kandinsky_prior(seeds: Seeds) -> dict[str, Any]:
    return {
        "prior_prior": prior_transformer(seeds.denoiser),
        "prior_image_encoder": vision_encoder(seeds.shared),
        "prior_text_encoder": clip.text_encoder(clip.VIT_L, seed=seeds.shared, is_projected=True),
        "prior_tokenizer": clip.tokenizer(),
        "prior_scheduler": prior_scheduler(),
        "prior_image_processor": None,
    }


def stable_cascade(seeds: Seeds) -> Any:
    """Stable Cascade: a prior on 24 times smaller latents, and a decoder."""
    prior = seeded(
        lambda: StableCascadeUNet(
            in_channels=16,
            out_channels=16,
            conditioning_dim=CASCADE_WIDTH,
            block_out_channels=(CASCADE_WIDTH, CASCADE_WIDTH),
            num_attention_heads=(2, 2),
            down_num_layers_per_block=(1, 1),
            up_num_layers_per_block=(1, 1),
            clip_text_in_channels=clip.VIT_G.width,
            clip_text_pooled_in_channels=clip.VIT_G.width,
            clip_image_in_channels=EMBEDDING,
            switch_level=(False,),
        ),
        seeds.denoiser,
    )
    decoder = seeded(
        lambda: StableCascadeUNet(
            in_channels=4,
            out_channels=4,
            patch_size=2,
            conditioning_dim=CASCADE_WIDTH,
            block_out_channels=(CASCADE_WIDTH, CASCADE_WIDTH),
            num_attention_heads=(-1, 2),
            down_num_layers_per_block=(1, 1),
            up_num_layers_per_block=(1, 1),
            down_blocks_repeat_mappers=(1, 1),
            up_blocks_repeat_mappers=(1, 1),
            block_types_per_layer=(
                ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
                ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
            ),
            clip_text_pooled_in_channels=clip.VIT_G.width,
            effnet_in_channels=16,
            timestep_conditioning_type=("sca",),
        ),
        seeds.denoiser,
    )
    encoder = clip.text_encoder(clip.VIT_G, seed=seeds.shared, is_projected=True)
    return StableCascadeCombinedPipeline(
        tokenizer=clip.tokenizer(),
        text_encoder=encoder,
        decoder=decoder,
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=_paella(seeds.shared),
        prior_prior=prior,
        prior_text_encoder=encoder,
        prior_tokenizer=clip.tokenizer(),
        prior_scheduler=DDPMWuerstchenScheduler(),
    )


def wuerstchen(seeds: Seeds) -> Any:
    """Würstchen, from which Stable Cascade comes."""
    width = clip.VIT_G.width
    prior = seeded(
        lambda: own_part("WuerstchenPrior")(c_in=16, c=CASCADE_WIDTH, c_cond=width, c_r=16, depth=2, nhead=2),
        seeds.denoiser,
    )
    decoder = seeded(
        lambda: own_part("WuerstchenDiffNeXt")(
            c_cond=width,
            c_r=16,
            c_hidden=[16, 32],
            nhead=[-1, 2],
            blocks=[1, 1],
            level_config=["CT", "CTA"],
            inject_effnet=[False, True],
            clip_embd=width,
        ),
        seeds.denoiser,
    )
    return WuerstchenCombinedPipeline(
        tokenizer=clip.tokenizer(),
        text_encoder=clip.text_encoder(clip.VIT_G, seed=seeds.shared),
        decoder=decoder,
        scheduler=DDPMWuerstchenScheduler(),
        vqgan=_paella(seeds.shared),
        prior_tokenizer=clip.tokenizer(),
        prior_text_encoder=clip.text_encoder(clip.VIT_G, seed=seeds.shared),
        prior_prior=prior,
        prior_scheduler=DDPMWuerstchenScheduler(),
    )


def _paella(seed: int) -> Any:
    return seeded(
        lambda: own_part("PaellaVQModel")(bottleneck_blocks=1, embed_dim=16, num_vq_embeddings=64), seed
    )
