"""Noise levels of the sigma schedules, as AUTOMATIC1111 names them, for checkpoints with a table of levels.

A level is sigma: the noise's standard deviation where the data's scale is kept. `table` holds those of all
training timesteps, ascending. Every function gives `steps` levels, descending, without the zero at the end.
Karras, exponential and the spacings in time are diffusers' own; they are not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from diffusers.schedulers import AysSchedules
from numpy.typing import NDArray

from gpu_runtime.messages import SigmaSchedule

Levels: TypeAlias = NDArray[np.float64]

# diffusers' tables end in zero, where the authors have the lowest level of training.
ALIGNED_SD: tuple[float, ...] = (*AysSchedules["StableDiffusionSigmas"][:-1], 0.029)
ALIGNED_SDXL: tuple[float, ...] = (*AysSchedules["StableDiffusionXLSigmas"][:-1], 0.029)
"""Sabour et al. 2024, arXiv:2404.14507: found for ten steps of these two, by optimisation."""

BETA_EXPONENT = 0.6
"""Both parameters of the beta distribution: Lee et al. 2024, arXiv:2407.12173."""

_SERIES_TERMS = 64
"""At an argument of a half, the term after these is below 2**-64."""

_BISECTIONS = 60


def simple(table: Levels, steps: int) -> Levels:
    """Every (n/steps)th of the n training timesteps, from the last one down."""
    count = len(table)
    return table[[count - 1 - int(step * count / steps) for step in range(steps)]]


def spaced_uniformly(table: Levels, steps: int, *, includes_first: bool) -> Levels:
    """Equal distances in time from the last timestep of training, to the first one or to one step before."""
    times = np.linspace(len(table) - 1, 0, steps if includes_first else steps + 1)[:steps]
    return np.exp(np.interp(times, np.arange(len(table)), np.log(table)))


def spaced_from_first(table: Levels, steps: int) -> Levels:
    """Every (n/steps)th of the n training timesteps, from the second one up: DDIM's own spacing."""
    times = np.arange(steps) * (len(table) // steps) + 1
    return table[np.minimum(times, len(table) - 1)][::-1]


def kl_optimal(lowest: float, highest: float, steps: int) -> Levels:
    """Equal distances of arctan(sigma), both ends included. Source: arXiv:2404.14507, equation 7."""
    return np.tan(np.linspace(math.atan(highest), math.atan(lowest), steps))


def aligned(found: tuple[float, ...], steps: int) -> Levels:
    """`found`, interpolated linearly in log(sigma); its last level gives way to the zero at the end."""
    places = np.linspace(0, len(found) - 1, steps + 1)[:-1]
    return np.exp(np.interp(places, np.arange(len(found)), np.log(found)))


def beta(lowest: float, highest: float, steps: int) -> Levels:
    """Quantiles of the beta distribution between both ends."""
    shares = beta_quantiles(1 - np.linspace(0, 1, steps))
    return lowest + shares * (highest - lowest)


def beta_quantiles(shares: Levels, exponent: float = BETA_EXPONENT) -> Levels:
    """Where the beta distribution with twice this parameter has these shares below it, within 1e-12."""
    # The distribution is symmetric, and the series below converges fast in its lower half.
    mirrored = np.minimum(shares, 1 - shares)
    low, high = np.zeros_like(mirrored), np.full_like(mirrored, 0.5)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_below = _beta_share(middle, exponent) < mirrored
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.where(shares < 0.5, low, 1 - low)


def _beta_share(places: Levels, exponent: float) -> Levels:
    """The regularised incomplete beta function: x^a / B(a, a) * sum of (1-a)_k / k! * x^k / (a + k)."""
    total, factor = np.zeros_like(places), np.ones_like(places)
    for term in range(_SERIES_TERMS):
        total = total + factor / (exponent + term)
        factor = factor * places * (term + 1 - exponent) / (term + 1)
    complete = math.gamma(exponent) ** 2 / math.gamma(2 * exponent)
    return places**exponent * total / complete


def levels_of(schedule: SigmaSchedule, table: Levels, found: tuple[float, ...], steps: int) -> Levels:
    """The levels of a schedule that diffusers has no setting for; `found` is for ALIGN_YOUR_STEPS.

    Raises KeyError for the others.
    """
    lowest, highest = float(table[0]), float(table[-1])
    ways: Mapping[SigmaSchedule, Callable[[], Levels]] = {
        SigmaSchedule.SIMPLE: lambda: simple(table, steps),
        SigmaSchedule.UNIFORM: lambda: spaced_uniformly(table, steps, includes_first=True),
        SigmaSchedule.NORMAL: lambda: spaced_uniformly(table, steps, includes_first=True),
        SigmaSchedule.SGM_UNIFORM: lambda: spaced_uniformly(table, steps, includes_first=False),
        SigmaSchedule.DDIM: lambda: spaced_from_first(table, steps),
        SigmaSchedule.KL_OPTIMAL: lambda: kl_optimal(lowest, highest, steps),
        SigmaSchedule.ALIGN_YOUR_STEPS: lambda: aligned(found, steps),
    }
    return ways[schedule]()
