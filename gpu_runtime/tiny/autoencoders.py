"""Autoencoders with the blocks of the real ones, about 1/16 as wide. Any: untyped in diffusers."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLHunyuanImage,
    AutoencoderKLQwenImage,
    AutoencoderKLQwenImage21,
    AutoencoderKLWan,
)

from gpu_runtime.tiny.seeding import seeded

CHANNELS = (8, 16, 32, 32)
"""Real: 128, 256, 512, 512."""

SETTINGS: dict[str, dict[str, Any]] = {
    "sd15": {"latent_channels": 4, "scaling_factor": 0.18215, "sample_size": 512},
    "sdxl": {"latent_channels": 4, "scaling_factor": 0.13025, "sample_size": 1024, "force_upcast": True},
    "sd3": {
        "latent_channels": 16,
        "scaling_factor": 1.5305,
        "shift_factor": 0.0609,
        "sample_size": 1024,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "force_upcast": True,
    },
    "flux": {
        "latent_channels": 16,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "sample_size": 1024,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "force_upcast": True,
    },
}
SETTINGS["sd2"] = SETTINGS["sd15"]

COGVIEW4: dict[str, Any] = {
    "latent_channels": 16,
    "scaling_factor": 1.0,
    "sample_size": 1024,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "mid_block_add_attention": False,
}
"""Settings that CogView4's autoencoder has in place of SD3's."""


def kl_autoencoder(family: str, *, seed: int, levels: int = 4, **changes: Any) -> Any:
    """AutoencoderKL of a family, of factor 2 ** (levels - 1); `changes` replace settings."""
    settings = SETTINGS[family] | changes
    return seeded(
        lambda: AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=CHANNELS[:levels],
            layers_per_block=2,
            norm_num_groups=CHANNELS[0],
            **settings,
        ),
        seed,
    )


def deep_compression_autoencoder(*, seed: int) -> Any:
    """AutoencoderDC of Sana: factor 32, 32 latent channels, attention in its three deepest levels."""
    blocks = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    # The deepest is as wide as the latents: the shortcuts there repeat channels.
    widths = (8, 8, 16, 16, 32, 32)
    scales: tuple[tuple[int, ...], ...] = ((), (), (), (5,), (5,), (5,))
    return seeded(
        lambda: AutoencoderDC(
            latent_channels=32,
            attention_head_dim=8,
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            encoder_block_out_channels=widths,
            decoder_block_out_channels=widths,
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            encoder_qkv_multiscales=scales,
            decoder_qkv_multiscales=scales,
            upsample_block_type="interpolate",
            downsample_block_type="Conv",
            scaling_factor=0.41407,
        ),
        seed,
    )


def flux2_autoencoder(*, seed: int) -> Any:
    """AutoencoderKLFlux2: 32 latent channels, patched by 2 and normed."""
    return seeded(
        lambda: AutoencoderKLFlux2(
            block_out_channels=CHANNELS, norm_num_groups=CHANNELS[0], layers_per_block=1, latent_channels=32
        ),
        seed,
    )


def qwen_autoencoder(*, seed: int) -> Any:
    """AutoencoderKLQwenImage: a video autoencoder for single frames, 16 latent channels."""
    return seeded(lambda: AutoencoderKLQwenImage(base_dim=8, num_res_blocks=1), seed)


def qwen21_autoencoder(*, seed: int) -> Any:
    """AutoencoderKLQwenImage21: factor 16, 64 latent channels, four colour channels."""
    return seeded(
        lambda: AutoencoderKLQwenImage21(
            base_dim=8, decoder_base_dim=8, dim_mult=[1, 2, 2, 2, 2], num_res_blocks=1
        ),
        seed,
    )


def wan_autoencoder(*, seed: int) -> Any:
    """AutoencoderKLWan of Wan 2.2, in pixels of 2 x 2: factor 16, 48 latent channels."""
    return seeded(
        lambda: AutoencoderKLWan(
            base_dim=8,
            decoder_base_dim=8,
            z_dim=48,
            dim_mult=[1, 2, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 48,
            latents_std=[1.0] * 48,
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=16,
        ),
        seed,
    )


def hunyuan_autoencoder(*, seed: int) -> Any:
    """AutoencoderKLHunyuanImage: factor 32, norms of 32 groups whatever the configuration says."""
    return seeded(
        lambda: AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=32,
            block_out_channels=(32, 32, 32, 32, 32, 64),
            layers_per_block=1,
            spatial_compression_ratio=32,
            sample_size=1024,
            scaling_factor=0.75289,
        ),
        seed,
    )
