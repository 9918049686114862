"""The noise that an image begins with, between that of two seeds, or drawn for another size.

As AUTOMATIC1111 does it, so that its variations can be made again: draws, their order and the arithmetic are
the same, columns being turned one by one rather than the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gpu_runtime.messages import ImageRequest

NEARLY_PARALLEL = 0.9995
"""Mean cosine above which the angle between two noises says nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseVariation:
    """What becomes of the noise of one image."""

    seed: int
    """Of the image itself."""
    second_seed: int
    strength: float
    """0 leaves the first noise, 1 gives the second one."""
    sides: tuple[int, int] | None = None
    """Height and width in latents of the size that the noise is drawn for; None is the image's own."""

    def of(self, own: Tensor) -> Tensor:
        """Noise [1, C, h, w] varied; `own` is what the image's generator gave for its own size."""
        noise = own if self.sides is None else _drawn(self.seed, own, self.sides)
        if self.strength > 0:
            second = _drawn(self.second_seed, own, (noise.shape[-2], noise.shape[-1]))
            noise = between(noise, second, self.strength)
        return noise if self.sides is None else laid_over(own, noise)


def variation_of(request: ImageRequest, index: int, *, factor: int) -> NoiseVariation | None:
    """What becomes of the noise of image `index`; `factor` is the pixels a side of one latent."""
    asked = request.variation
    if asked is None:
        return None
    sides = None
    if asked.size is not None and asked.size != (request.width, request.height):
        width, height = asked.size
        sides = (height // factor, width // factor)
    return NoiseVariation(
        seed=request.seeds[index], second_seed=asked.seeds[index], strength=asked.strength, sides=sides
    )


def between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Spherical interpolation of each column of [1, C, h, w]; near-parallel noises are mixed.

    Source: Shoemake 1985, "Animating rotation with quaternion curves".
    """
    unit, second_unit = (each / each.norm(dim=-2, keepdim=True) for each in (first, second))
    cosine = (unit * second_unit).sum(dim=-2, keepdim=True)
    if cosine.mean() > NEARLY_PARALLEL:
        return first * (1 - share) + second * share
    angle = torch.acos(cosine.clamp(-1, 1))
    whole = torch.sin(angle)
    return torch.sin((1 - share) * angle) / whole * first + torch.sin(share * angle) / whole * second


def laid_over(ground: Tensor, noise: Tensor) -> Tensor:
    """`ground` with `noise` of another size over its middle; what stands out is left away."""
    result = ground.clone()
    height, top, noise_top = _overlap(ground.shape[-2], noise.shape[-2])
    width, left, noise_left = _overlap(ground.shape[-1], noise.shape[-1])
    result[..., top : top + height, left : left + width] = noise[
        ..., noise_top : noise_top + height, noise_left : noise_left + width
    ]
    return result


def _overlap(side: int, other: int) -> tuple[int, int, int]:
    """Length of the overlap of two centred lines, and where it begins on each."""
    # Rounded down where the difference is odd, for either sign: the halves that the reference has.
    offset = (side - other) // 2
    length = other if offset >= 0 else other + 2 * offset
    return length, max(offset, 0), max(-offset, 0)


def _drawn(seed: int, like: Tensor, sides: tuple[int, int]) -> Tensor:
    """Noise of variance 1 from a generator of its own, on the CPU as every draw."""
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (*like.shape[:-2], *sides)
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(like.device)
