"""Where images of the rectified-flow families begin: in noise, in a picture, in what an earlier pass left.

References: diffusers' image-to-image and inpainting pipelines of SD3 and FLUX.1, order of draws included: the
picture's latents first, then the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gpu_runtime.families.family import Start
from gpu_runtime.families.pictures import Blend, Posterior, encoded, latent_mask, mask_of, pixels_of, sampled
from gpu_runtime.messages import ImageRequest
from gpu_runtime.sampling.row_sampler import RowSampler


@dataclass(frozen=True, slots=True, kw_only=True)
class InitImage:
    """The picture that a request begins from."""

    posterior: Posterior
    mask: Tensor | None
    """Float32 [1, 1, h, w] of the latents' size, on the device, 1 where the image is made anew; None where
    all of it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """One image before its first step."""

    latents: Tensor
    """Float32 [1, C, h, w], on the device, at the noise level of the first step."""
    after_step: Blend | None = None
    """Keeps what the mask keeps."""


def read_init_image(request: ImageRequest, vae: Any, *, keeps_by_mask: bool = True) -> InitImage | None:
    """The request's init image and mask, encoded; None for a request without.

    `vae` is one of diffusers' autoencoders, untyped. `keeps_by_mask`: not for denoisers that take the mask
    themselves. Raises UnsupportedCombination for a picture that cannot be decoded.
    """
    if request.image is None:
        return None
    posterior = encoded(vae, pixels_of(request.image, request.width, request.height))
    if request.mask is None or not keeps_by_mask:
        return InitImage(posterior=posterior, mask=None)
    mask = mask_of(request.mask, request.width, request.height)
    sides = (posterior.mean.shape[-2], posterior.mean.shape[-1])
    return InitImage(posterior=posterior, mask=latent_mask(mask, sides).to(posterior.mean.device))


def strength_of(request: ImageRequest, start: Start) -> float:
    """Share of the steps that is done: all of them where nothing but noise is there to begin from."""
    is_from_noise = request.image is None and start.latents is None and start.pixels is None
    return 1.0 if is_from_noise else request.strength


def begin_from(
    sampler: RowSampler,
    shape: tuple[int, int, int],
    *,
    start: Start,
    init: InitImage | None,
    vae: Any,
    is_noise_alone: bool = False,
) -> Beginning:
    """The image's latents [1, *shape] before its first step. Draws from the sampler's generator.

    `vae` encodes `start.pixels` where `start` names none (one of diffusers' autoencoders, untyped).
    `is_noise_alone`: nothing of the init image goes into the first latents, only into what a mask keeps.
    """
    kept = None if init is None else sampled(init.posterior, sampler.generator)
    earlier = _earlier(sampler, start, vae)
    source = kept if earlier is None else earlier
    if source is None:
        return Beginning(latents=sampler.initial_latents(shape))
    noise = sampler.first_noise(shape)
    if start.begin_at is not None:
        latents = source
    elif is_noise_alone and earlier is None:
        latents = sampler.pure(noise)
    else:
        latents = sampler.add_noise(source, noise)
    if init is None or init.mask is None or kept is None:
        return Beginning(latents=latents)
    if init.posterior.deviation is not None:
        # The pipelines draw for the masked picture also where no network looks at it.
        sampler.draw_noise(shape)
    blend = Blend(noised=sampler.noised_at_next, kept=kept, noise=noise, mask=init.mask)
    return Beginning(latents=latents, after_step=blend)


def _earlier(sampler: RowSampler, start: Start, vae: Any) -> Tensor | None:
    """What an earlier pass left, as latents; None where there was none. `vae` is untyped in diffusers."""
    if start.latents is not None or start.pixels is None:
        return start.latents
    return sampled(encoded(start.vae or vae, start.pixels), sampler.generator)
