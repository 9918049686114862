"""Restart sampling: Heun's method, with noise added back in one interval that is then gone through again.

Source: Xu et al. 2023, arXiv:2306.14878, algorithm 2; the interval and the numbers of steps are those that
AUTOMATIC1111 takes. Has its own noise levels: those of Karras et al. between the schedule's ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from torch import Tensor

from gpu_runtime.sampling.algorithm import Asking, Call, Draw
from gpu_runtime.sampling.grid import Grid

FROM_SIGMA, TO_SIGMA = 0.1, 2.0
"""Reached first, and where it begins again."""

FEW_STEPS, MANY_STEPS = 20, 36
"""Below the first: no restart. From the second: two restarts of a quarter of the steps each."""

SHORT_RESTART = 9
"""Steps of the one restart between these."""

RHO = 7.0


def restart(grid: Grid, draw: Draw) -> Asking:
    """Heun's method along `levels_with_restarts`; a level above the last one is reached by adding noise."""
    moved: Tensor | None = None
    path = levels_with_restarts(grid)
    for step, (sigma, lower, renoised_from) in enumerate(path):
        if renoised_from is not None:
            assert moved is not None
            moved = moved + (sigma**2 - renoised_from**2) ** 0.5 * draw(moved)
        latents, denoised = yield Call(sigma, moved, min(step, grid.steps - 1))
        slope = (latents - denoised) / sigma
        moved = latents + (lower - sigma) * slope
        if lower > 0:
            reached, denoised = yield Call(lower, moved, min(step, grid.steps - 1))
            moved = latents + (lower - sigma) * (slope + (reached - denoised) / lower) / 2
    assert moved is not None
    return moved


def levels_with_restarts(grid: Grid) -> list[tuple[float, float, float | None]]:
    """Steps (from, to, level that noise was added to before the step, if it was): as many as the grid's."""
    repeats, repeated = _restarts(grid.steps)
    main = _levels(grid, grid.steps - repeats * repeated)
    steps: list[tuple[float, float, float | None]] = []
    low, high = (min(main[:-1], key=lambda level: abs(level - wanted)) for wanted in (FROM_SIGMA, TO_SIGMA))
    if low == high:
        # Another checkpoint goes on before the interval is reached.
        main = _levels(grid, grid.steps)
    for sigma, lower in pairwise(main):
        steps.append((sigma, lower, None))
        if lower == low < high:
            for _ in range(repeats):
                steps += _again(_karras(high, low, repeated + 1))
    return steps


def _levels(grid: Grid, steps: int) -> list[float]:
    """From the grid's first level to its last one in so many steps."""
    return [*_karras(grid.sigmas[0], grid.sigmas[-2], steps), grid.sigmas[-1]]


def _again(levels: list[float]) -> Iterator[tuple[float, float, float | None]]:
    for number, (sigma, lower) in enumerate(pairwise(levels)):
        yield sigma, lower, None if number else levels[-1]


def _restarts(steps: int) -> tuple[int, int]:
    """How often, and how many steps each."""
    if steps < FEW_STEPS:
        return 0, 0
    return (2, steps // 4) if steps >= MANY_STEPS else (1, SHORT_RESTART)


def _karras(highest: float, lowest: float, steps: int) -> list[float]:
    """Karras et al. 2022, arXiv:2206.00364, equation 5."""
    ends = highest ** (1 / RHO), lowest ** (1 / RHO)
    # The ends as they are: a step is found by its level.
    return [highest, *(np.linspace(*ends, steps) ** RHO).tolist()[1:-1], lowest][:steps]
