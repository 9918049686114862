"""DPM-Solver with noise predictions: in a fixed number of calls ("fast"), or with steps of its own size.

Source: Lu et al. 2022, arXiv:2206.00927: algorithms 1 (order 1), 4 (order 2) and 5 (order 3), section 3.4
("fast") and appendix C.1 ("adaptive": orders 2 and 3 compared). Steps are taken in lambda = -log(sigma).
Both end at the lowest level of training, with the little noise that is left there, as their authors do.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gpu_runtime.sampling.algorithm import Asking, Call, Draw
from gpu_runtime.sampling.grid import Grid

ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE = 0.0078, 0.05
FIRST_STEP = 0.05
SAFETY = 0.9
"""Appendix C.1: tolerances for images in -1..1, the first step in lambda, and the factor of a new step."""

MOST_GROWTH = 2.0
"""Of a step over the one before. Theirs knows no limit: after a step of no difference it leaps too far."""

MOST_STEPS = 150
"""The adaptive solver takes no step smaller than this part of the way: then it does not check it either."""

Slope: TypeAlias = Generator[Call, tuple[Tensor, Tensor], Tensor]
"""Part of an algorithm that ends with latents."""


def dpm_fast(grid: Grid, _draw: Draw) -> Asking:
    """As many calls as steps: mostly steps of order 3, at the end one of what is left."""
    orders = orders_of(grid.steps)
    places = np.linspace(-math.log(grid.sigmas[0]), -math.log(grid.lowest), len(orders) + 1).tolist()
    moved: Tensor | None = None
    done = 0
    for order, place, following in zip(orders, places, places[1:], strict=False):
        latents, denoised = yield Call(math.exp(-place), moved, done)
        noise = (latents - denoised) * math.exp(place)
        moved = yield from _step(order, latents, noise, place, following, done)
        done += order
    assert moved is not None
    return moved


def orders_of(calls: int) -> list[int]:
    """Orders of steps that make this many calls: 3 as long as possible, at the end 2 and 1, or 1, or 2."""
    whole, rest = divmod(calls, 3)
    return [3] * whole + [rest] if rest else [3] * (whole - 1) + [2, 1]


def dpm_adaptive(grid: Grid, _draw: Draw) -> Asking:
    """Orders 2 and 3 from the same calls; a step whose two results differ too much is taken again, smaller.

    The number of calls is its own affair: the grid's steps are only what its way is counted in.
    """
    place, end = -math.log(grid.sigmas[0]), -math.log(grid.lowest)
    way = end - place
    if way <= 0:
        # The last step of some schedules begins where this ends.
        unmoved, _ = yield Call(grid.sigmas[0], None, 0)
        return unmoved
    width, smallest = FIRST_STEP, way / MOST_STEPS
    latents: Tensor | None = None
    while latents is None or end - place > 1e-6 * way:
        done = min(grid.steps - 1, int(grid.steps * (1 - (end - place) / way)))
        latents, denoised = yield Call(math.exp(-place), latents, done)
        before, noise = latents, (latents - denoised) * math.exp(place)
        is_accepted = False
        while not is_accepted:
            width = min(max(width, smallest), end - place)
            lower, higher = yield from _two_orders(before, noise, place, place + width, done)
            difference = _difference(lower, higher, before)
            # Written so that values which are no numbers end the loop: the caller sees them.
            is_accepted = not difference > 1 or width <= smallest
            if is_accepted:
                latents, place = higher, place + width
            width *= min(MOST_GROWTH, SAFETY * max(difference, 1e-6) ** (-1 / 3))
    return latents


def _step(order: int, latents: Tensor, noise: Tensor, place: float, following: float, done: int) -> Slope:
    """One step of an order from 1 to 3."""
    if order == 1:
        return _moved(latents, noise, place, following)
    if order == 2:
        return (yield from _second(latents, noise, place, following, done))
    _, higher = yield from _two_orders(latents, noise, place, following, done, is_checked=False)
    return higher


def _second(latents: Tensor, noise: Tensor, place: float, following: float, done: int) -> Slope:
    """Algorithm 4 with r = 1/2."""
    middle = (place + following) / 2
    change = yield from _change(noise, _moved(latents, noise, place, middle), middle, done)
    width = following - place
    return _moved(latents, noise, place, following) - math.exp(-following) * math.expm1(width) * change


def _two_orders(
    latents: Tensor, noise: Tensor, place: float, following: float, done: int, *, is_checked: bool = True
) -> Generator[Call, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Algorithm 5 with r1 = 1/3, r2 = 2/3, and before it the step of order 2 that shares its second call."""
    width = following - place
    third, two_thirds = place + width / 3, place + width * 2 / 3
    change = yield from _change(noise, _moved(latents, noise, place, third), third, done)
    straight = _moved(latents, noise, place, following)
    grown = math.exp(-following) * math.expm1(width)
    lower = straight - 1.5 * grown * change if is_checked else straight
    bend = math.exp(-two_thirds) * 2 * (math.expm1(width * 2 / 3) / (width * 2 / 3) - 1)
    reached = _moved(latents, noise, place, two_thirds) - bend * change
    change = yield from _change(noise, reached, two_thirds, done)
    bend = math.exp(-following) * 1.5 * (math.expm1(width) / width - 1)
    return lower, straight - bend * change


def _change(noise: Tensor, reached: Tensor, place: float, done: int) -> Slope:
    """How the predicted noise at `reached`, which lies at `place`, differs from this one."""
    reached, denoised = yield Call(math.exp(-place), reached, done)
    return (reached - denoised) * math.exp(place) - noise


def _moved(latents: Tensor, noise: Tensor, place: float, following: float) -> Tensor:
    """Algorithm 1: the noise held fixed."""
    return latents - math.exp(-following) * math.expm1(following - place) * noise


def _difference(lower: Tensor, higher: Tensor, before: Tensor) -> float:
    """Root mean square of the two results' difference, in units of what is tolerated."""
    largest = torch.maximum(lower.abs(), before.abs())
    tolerated = torch.clamp(RELATIVE_TOLERANCE * largest, min=ABSOLUTE_TOLERANCE)
    return float(((higher - lower) / tolerated).pow(2).mean().sqrt())
