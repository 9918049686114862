"""Latents of diffusers' pipelines for previews: unpacked, and decoded as they would be.

Pipelines keep latents as [1, C, h, w], or packed as tokens of 2 x 2 latents, [1, h / 2 * w / 2, 4 C]. What is
in neither form, or is decoded by an autoencoder not named here, has no previews.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    AutoencoderTiny,
)
from torch import Tensor

SCALED = (AutoencoderKL, AutoencoderDC, AutoencoderTiny)
"""Autoencoders whose latents have one scale and one shift."""

PATCH = 2
"""Latents a side of a token."""


class LatentView:
    """How one pipeline's latents are looked at."""

    def __init__(self, vae: Any) -> None:
        """`vae` is one of diffusers' autoencoders, untyped."""
        self._vae = vae
        self.channels: int = vae.config.z_dim if _is_qwen(vae) else vae.config.latent_channels

    def unpacked(self, latents: Tensor, width: int, height: int) -> Tensor | None:
        """Float [1, C, h, w] of an image of this size, None for latents in an unknown form."""
        if latents.ndim == 4 and latents.shape[1] == self.channels:
            return latents
        if latents.ndim != 3 or latents.shape[2] != PATCH * PATCH * self.channels:
            return None
        rows = round((latents.shape[1] * height / width) ** 0.5)
        if rows < 1 or latents.shape[1] % rows:
            return None
        tokens = latents.transpose(1, 2).reshape(1, latents.shape[2], rows, -1)
        return torch.nn.functional.pixel_shuffle(tokens, PATCH)

    def decoded(self, latents: Tensor) -> Tensor:
        """Float32 [1, 3, H, W], nominally -1 to 1, of latents as `unpacked` gives them."""
        vae = self._vae
        own = self._in_own_scale(latents).to(vae.dtype)
        if _is_qwen(vae):
            # Made for videos: this is one frame.
            return vae.decode(own.unsqueeze(2), return_dict=False)[0].squeeze(2).float()
        return vae.decode(own, return_dict=False)[0][:, :3].float()

    def _in_own_scale(self, latents: Tensor) -> Tensor:
        vae = self._vae
        if _is_qwen(vae):
            mean, deviation = (
                latents.new_tensor(values).view(1, -1, 1, 1)
                for values in (vae.config.latents_mean, vae.config.latents_std)
            )
            return latents * deviation + mean
        if isinstance(vae, AutoencoderKLFlux2):
            tokens = torch.nn.functional.pixel_unshuffle(latents, PATCH)
            statistics = vae.bn
            deviation = (statistics.running_var + vae.config.batch_norm_eps).sqrt().view(1, -1, 1, 1)
            own = tokens * deviation + statistics.running_mean.view(1, -1, 1, 1)
            return torch.nn.functional.pixel_shuffle(own, PATCH)
        return latents / vae.config.scaling_factor + (vae.config.get("shift_factor") or 0.0)


def latent_view(pipeline: Any) -> LatentView | None:
    """How to look at a pipeline's latents, None where that is not known. Any: untyped in diffusers."""
    vae = getattr(pipeline, "vae", None)
    is_known = isinstance(vae, (*SCALED, AutoencoderKLFlux2, AutoencoderKLQwenImage))
    return LatentView(vae) if is_known else None


def _is_qwen(vae: Any) -> bool:
    return isinstance(vae, AutoencoderKLQwenImage)
