"""The networks of published checkpoints, by their published configurations, without numbers.

Each function builds a diffusers or transformers class on the meta device and returns its state dict.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

State = dict[str, torch.Tensor]


def _state(build: Any, **config: Any) -> State:
    with torch.device("meta"):
        return dict(build(**config).state_dict())


SD1_UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD2_UNET: dict[str, Any] = SD1_UNET | {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
REFINER_UNET: dict[str, Any] = SDXL_UNET | {
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": 4,
    "attention_head_dim": (6, 12, 24, 24),
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}
SD3_MEDIUM: dict[str, Any] = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "num_attention_heads": 24,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}
SD35_MEDIUM: dict[str, Any] = SD3_MEDIUM | {
    "pos_embed_max_size": 384,
    "qk_norm": "rms_norm",
    "dual_attention_layers": tuple(range(13)),
}
SD35_LARGE: dict[str, Any] = SD3_MEDIUM | {
    "num_layers": 38,
    "num_attention_heads": 38,
    "caption_projection_dim": 2432,
    "qk_norm": "rms_norm",
}
FLUX: dict[str, Any] = {
    "in_channels": 64,
    "out_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
}
KL_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
KL_VAE_16: dict[str, Any] = KL_VAE | {
    "latent_channels": 16,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def unet(config: dict[str, Any], **changes: Any) -> State:
    return _state(diffusers.UNet2DConditionModel, **config | changes)


def vae(config: dict[str, Any] = KL_VAE) -> State:
    return _state(diffusers.AutoencoderKL, **config)


def sd3(config: dict[str, Any]) -> State:
    return _state(diffusers.SD3Transformer2DModel, **config)


def flux(**changes: Any) -> State:
    return _state(diffusers.FluxTransformer2DModel, **FLUX | changes)


def transformer(class_name: str, **config: Any) -> State:
    """Another family's transformer; diffusers' defaults are the published values but for `config`."""
    return _state(getattr(diffusers, class_name), **config)


def controlnet(config: dict[str, Any], class_name: str = "ControlNetModel", **changes: Any) -> State:
    """The network beside a UNet of this configuration."""
    kept = {key: value for key, value in config.items() if key not in ("up_block_types", "sample_size")}
    return _state(getattr(diffusers, class_name), **kept | changes)


def clip_l(*, is_projected: bool = False) -> State:
    return _clip(768, 12, 12, "quick_gelu", is_projected=is_projected)


def clip_h() -> State:
    """OpenCLIP's ViT-H/14 with all of its layers; diffusers keeps one less."""
    return _clip(1024, 24, 16, "gelu", is_projected=False)


def clip_g() -> State:
    return _clip(1280, 32, 20, "gelu", is_projected=True)


def _clip(width: int, layers: int, heads: int, activation: str, *, is_projected: bool) -> State:
    config = transformers.CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        hidden_act=activation,
    )
    build = transformers.CLIPTextModelWithProjection if is_projected else transformers.CLIPTextModel
    return _state(build, config=config)


def t5_xxl() -> State:
    config = transformers.T5Config(
        d_model=4096,
        d_ff=10240,
        d_kv=64,
        num_heads=64,
        num_layers=24,
        vocab_size=32128,
        feed_forward_proj="gated-gelu",
    )
    return _state(transformers.T5EncoderModel, config=config)
