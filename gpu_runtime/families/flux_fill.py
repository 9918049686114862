"""FLUX.1 Fill's further channels: the picture without what is to be made, and the mask pixel by pixel.

Reference: diffusers' FluxFillPipeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.families.pictures import Posterior, encoded, mask_of, pixels_of, sampled
from gpu_runtime.messages import ImageInput


@dataclass(frozen=True, slots=True, kw_only=True)
class FillInput:
    """What Fill takes of a request's picture and mask."""

    posterior: Posterior
    """Of the picture with grey where the mask is 1."""
    mask: Tensor
    """Float32 [1, factor**2, h, w], on the device: a channel for each image pixel of a latent pixel."""

    def channels(self, generator: torch.Generator) -> Tensor:
        """Float32 [1, C + factor**2, h, w], on the device; draws the picture's latents."""
        return torch.cat([sampled(self.posterior, generator), self.mask], dim=1)


def read_fill_input(
    picture: ImageInput, mask_picture: ImageInput, size: tuple[int, int], vae: Any, factor: int
) -> FillInput:
    """Prepare picture and mask for images of `size`, width and height; `factor` pixels are a latent pixel.

    `vae` is one of diffusers' autoencoders, untyped. Raises UnsupportedCombination for a picture that cannot
    be decoded.
    """
    mask = mask_of(mask_picture, *size)
    posterior = encoded(vae, pixels_of(picture, *size) * (1 - mask))
    by_pixel = torch.nn.functional.pixel_unshuffle(mask, factor)
    return FillInput(posterior=posterior, mask=by_pixel.to(posterior.mean.device))
