"""Samplers that remember the slopes of earlier steps: LMS and iPNDM.

The slope is (x - D(x; sigma)) / sigma, the right-hand side of the probability-flow equation dx/dsigma.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.polynomial import Polynomial
from torch import Tensor

from gpu_runtime.sampling.algorithm import Asking, Call, Draw
from gpu_runtime.sampling.grid import Grid

ORDER = 4
"""Most slopes that are combined, of both."""

ADAMS_BASHFORTH: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the latest slopes, the newest first, for steps of equal size."""


def lms(grid: Grid, _draw: Draw) -> Asking:
    """Linear multistep: the slope's polynomial through the last four is integrated over the step.

    Equal to diffusers' LMSDiscreteScheduler, which needs scipy, except in the middle of a schedule: that
    class takes weights for slopes it does not have where an image is changed; here it is those there are.
    """
    return _multistep(grid, lambda step, known: lms_weights(grid.sigmas, step, known))


def ipndm(grid: Grid, _draw: Draw) -> Asking:
    """Adams-Bashforth with lower orders at the start: Liu et al. 2022, arXiv:2202.09778, "improved PNDM".

    diffusers' IPNDMScheduler has a noise schedule and timesteps of its own, 0 to 1, that fit no Stable
    Diffusion; this is its rule on the checkpoint's noise levels.
    """

    def weights(step: int, known: int) -> Sequence[float]:
        width = grid.sigmas[step + 1] - grid.sigmas[step]
        return [weight * width for weight in ADAMS_BASHFORTH[known - 1]]

    return _multistep(grid, weights)


def lms_weights(sigmas: Sequence[float], step: int, known: int) -> list[float]:
    """Integrals over step `step` of the Lagrange polynomials of the last `known` levels, newest first."""
    places = [sigmas[step - back] for back in range(known)]
    weights = []
    for own in places:
        others = [place for place in places if place is not own]
        basis = Polynomial.fromroots(others) if others else Polynomial([1.0])
        integral = basis.integ()
        scale = np.prod([own - other for other in others]) if others else 1.0
        weights.append(float((integral(sigmas[step + 1]) - integral(sigmas[step])) / scale))
    return weights


def _multistep(grid: Grid, weights: Callable[[int, int], Sequence[float]]) -> Asking:
    """Add the last slopes with the weights for this step and number of slopes, newest first."""
    slopes: deque[Tensor] = deque(maxlen=ORDER)
    moved: Tensor | None = None
    for step, sigma in enumerate(grid.sigmas[:-1]):
        latents, denoised = yield Call(sigma, moved, step)
        slopes.appendleft((latents - denoised) / sigma)
        pairs = zip(weights(step, len(slopes)), slopes, strict=True)
        moved = latents + sum((weight * slope for weight, slope in pairs), start=latents.new_zeros(()))
    assert moved is not None
    return moved
