"""How an image of a UNet begins: from noise, from a picture, from what an earlier pass left, under a mask.

Shared by Stable Diffusion 1.x, 2.x and XL, whose pipelines do the same here down to the order in which the
image's generator is drawn from: the picture's latents, the noise, the masked picture's latents.

Reference: diffusers' pipelines StableDiffusion(XL)Img2ImgPipeline, StableDiffusion(XL)InpaintPipeline, and
StableDiffusionXLPipeline with `denoising_end`. In float32 an image from here equals theirs
(tests/gpu_runtime/test_image_families.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.families.family import Conditioning, Row, Start
from gpu_runtime.families.image_inputs import latent_sides, require_pictures
from gpu_runtime.families.pictures import (
    Blend,
    Mixture,
    Posterior,
    encoded,
    latent_mask,
    mask_of,
    pixels_of,
    sampled,
)
from gpu_runtime.messages import ImageRequest
from gpu_runtime.samplers import SamplerFactory
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.sampling.variations import variation_of
from gpu_runtime.weights.family_facts import steps_from_picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What a request's pictures are for a UNet: `Conditioning.pictures`."""

    image: Posterior | None = None
    """None where the image is not looked at: without one, or where all that is made begins as noise."""
    mask: Tensor | None = None
    """Float32 [1, 1, h, w], at the size of the latents, on the device; 1 is made anew."""
    masked: Posterior | None = None
    """The image, grey where it is made anew, for UNets that were trained to fill it in."""


class Starts:
    """Begins the images of one checkpoint."""

    def __init__(self, unet: Any, vae: Any, samplers: SamplerFactory, device: torch.device) -> None:
        """`unet` and `vae` are diffusers' networks, untyped."""
        self._in_channels = int(unet.config.in_channels)
        self._latent_channels = int(vae.config.latent_channels)
        self._vae = vae
        self._samplers = samplers
        self._device = device
        self.factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        """Side of the square of pixels that one latent stands for."""

    def pictures(self, request: ImageRequest, vae: Any = None) -> Pictures:
        """Decode and encode what the request brings; `vae` as in `Family.encode`.

        Raises UnsupportedCombination for damage, and for what is lacking or not taken.
        """
        fills_in = require_pictures(request, self._in_channels, self._latent_channels)
        if request.image is None:
            return Pictures()
        vae = vae or self._vae
        sides = latent_sides(request, factor=self.factor)
        pixels = pixels_of(request.image, request.width, request.height)
        if request.mask is None:
            return Pictures(image=encoded(vae, pixels))
        mask = mask_of(request.mask, request.width, request.height)
        return Pictures(
            image=None if fills_in and request.strength == 1 else encoded(vae, pixels),
            mask=latent_mask(mask, sides).to(self._device),
            masked=encoded(vae, pixels * (mask < 0.5)) if fills_in else None,
        )

    def row(self, request: ImageRequest, index: int, conditioning: Conditioning, start: Start) -> Row:
        """Image `index` at its first step. Raises UnsupportedCombination."""
        shape = (self._latent_channels, *latent_sides(request, factor=self.factor))
        is_changed = request.image is not None or start.latents is not None or start.pixels is not None
        sampler = self._samplers.make(
            request.sampler,
            steps=request.steps,
            seed=request.seeds[index],
            schedule=request.schedule,
            strength=request.strength if is_changed else 1.0,
            begin_at=start.begin_at,
            end_at=start.end_at,
        )
        sampler.variation = variation_of(request, index, factor=self.factor)
        pictures: Pictures = conditioning.pictures
        if pictures.mask is not None:
            return self._masked_row(request, conditioning, start, sampler, pictures.mask, shape)
        origin = self._left(start, sampler)
        if origin is None and pictures.image is not None:
            origin = sampled(pictures.image, sampler.generator)
        if origin is None:
            latents = sampler.initial_latents(shape)
        elif start.begin_at is None:
            return self._changed_row(request, conditioning, sampler, origin)
        else:
            latents = origin
        return Row(conditioning=conditioning, sampler=sampler, latents=latents)

    def _changed_row(
        self, request: ImageRequest, conditioning: Conditioning, sampler: RowSampler, origin: Tensor
    ) -> Row:
        """Begun from these clean latents with noise on them, and mixed with them where that is wanted."""
        noise = sampler.first_noise(tuple(origin.shape[1:]))
        row = Row(conditioning=conditioning, sampler=sampler, latents=sampler.add_noise(origin, noise))
        if request.mix is not None:
            share = torch.full((1, 1, 1, 1), request.mix.share, device=self._device)
            row.after_step = Mixture(
                blend=Blend(noised=sampler.noised_at_next, kept=origin, noise=noise, mask=share),
                steps_left=lambda: sampler.steps_total - sampler.steps_done,
                steps_alone=steps_from_picture(request.checkpoint.family, request.steps, request.mix.until),
            )
        return row

    def _masked_row(
        self,
        request: ImageRequest,
        conditioning: Conditioning,
        start: Start,
        sampler: RowSampler,
        mask: Tensor,
        shape: tuple[int, int, int],
    ) -> Row:
        pictures: Pictures = conditioning.pictures
        kept = None if pictures.image is None else sampled(pictures.image, sampler.generator)
        origin = self._left(start, sampler)
        origin = kept if origin is None else origin
        noise = sampler.first_noise(shape)
        if start.begin_at is not None and origin is not None:
            latents = origin
        elif request.strength == 1 or origin is None:
            latents = sampler.pure(noise)
        else:
            latents = sampler.add_noise(origin, noise)
        row = Row(conditioning=conditioning, sampler=sampler, latents=latents)
        if pictures.masked is not None:
            row.channels = torch.cat([mask, sampled(pictures.masked, sampler.generator)], dim=1)
        elif kept is not None:
            row.after_step = Blend(noised=sampler.noised_at_next, kept=kept, noise=noise, mask=mask)
            if pictures.image is not None and pictures.image.deviation is not None:
                # The pipelines draw for the masked picture also where no network looks at it.
                sampler.draw_noise(shape)
        return row

    def _left(self, start: Start, sampler: RowSampler) -> Tensor | None:
        """What an earlier pass left, as latents; None if there was none."""
        if start.pixels is not None:
            return sampled(encoded(start.vae or self._vae, start.pixels), sampler.generator)
        return start.latents
