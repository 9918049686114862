"""Second-order samplers that renew part of the noise in every step: DPM++ 2S a and DPM++ SDE.

Both step in t = -log(sigma), where the denoised latents' share of a step is 1 - exp(-h) = -expm1(-h).
Source: Lu et al. 2022, arXiv:2211.01095, algorithm 1 with r = 1/2; how much noise is renewed is DDPM's
ancestral step. The names and the use for images are Katherine Crowson's (k-diffusion).
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from gpu_runtime.sampling.algorithm import Asking, Call, Draw
from gpu_runtime.sampling.grid import Grid


def dpmpp_2s_a(grid: Grid, draw: Draw) -> Asking:
    """DPM-Solver++(2S) down to below the next level, then noise up to it."""
    moved: Tensor | None = None
    for step, (sigma, lower) in enumerate(pairwise(grid.sigmas)):
        latents, denoised = yield Call(sigma, moved, step)
        if lower == 0:
            return denoised
        down, up = ancestral_split(sigma, lower)
        middle = math.sqrt(sigma * down)
        _, denoised = yield Call(middle, towards(latents, denoised, sigma, middle), step)
        moved = towards(latents, denoised, sigma, down) + up * draw(latents)
    assert moved is not None
    return moved


def dpmpp_sde(grid: Grid, draw: Draw) -> Asking:
    """DPM-Solver++(2S) of the stochastic equation, with noise at the middle of a step as well.

    The noise of both halves is one Brownian path in sigma: the whole step's is the sum of its two parts, each
    drawn from the image's own generator. So no tree of intervals is needed, as others use to look them up.
    """
    moved: Tensor | None = None
    for step, (sigma, lower) in enumerate(pairwise(grid.sigmas)):
        latents, denoised = yield Call(sigma, moved, step)
        if lower == 0:
            return denoised
        middle = math.sqrt(sigma * lower)
        first = math.sqrt(sigma - middle) * draw(latents)
        second = math.sqrt(middle - lower) * draw(latents)
        down, up = ancestral_split(sigma, middle)
        halfway = towards(latents, denoised, sigma, down) + up * first / math.sqrt(sigma - middle)
        _, denoised = yield Call(middle, halfway, step)
        down, up = ancestral_split(sigma, lower)
        path = (first + second) / math.sqrt(sigma - lower)
        moved = towards(latents, denoised, sigma, down) + up * path
    assert moved is not None
    return moved


def ancestral_split(sigma: float, lower: float) -> tuple[float, float]:
    """The level to step down to, and the noise to add to be at `lower` then: down^2 + up^2 = lower^2."""
    up = min(lower, math.sqrt(lower**2 * (sigma**2 - lower**2) / sigma**2))
    return math.sqrt(lower**2 - up**2), up


def towards(latents: Tensor, denoised: Tensor, sigma: float, lower: float) -> Tensor:
    """The exponential integrator's step with the denoised latents held fixed."""
    kept = lower / sigma
    return kept * latents + (1 - kept) * denoised
