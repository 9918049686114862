"""Patches of a picture that look for others like them, and the averages of what they find, at one size.

Sources: Barnes et al. 2009, "PatchMatch" (the search); Wexler, Shechtman and Irani 2007, "Space-Time
Completion of Video" (the averages).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.postprocess.channels import Flags, Floats
from gpu_runtime.postprocess.membranes import stretch

Places: TypeAlias = NDArray[Any]
"""int32, [N, 2], rows and columns."""

FADING = 1.3
"""By how much less a find counts for each pixel further inside the hole (Wexler's gamma)."""

MOST_SUMMED = 1_500_000
"""Pixels of patches that are summed up between two yields: 50 ms."""

ALL_PAIRS = 4_000_000
"""Targets times sources up to which all are compared: chance must not choose what the coarse levels show."""


@dataclass(slots=True)
class Level:
    """One size of the picture, [H, W, 3], 0 to 255, and the search on it."""

    picture: Floats
    hole: Flags
    reach: int
    """Radius of a patch."""
    targets: Places
    """Middles of all patches that touch the hole and lie in the picture."""
    is_source: Flags
    """Where the middle of a patch may lie that is wholly known."""
    found: Places
    """For each target the middle of the patch that is like it."""
    errors: Floats
    """For each target the mean squared difference of the two; all one until there was a search."""

    @property
    def offsets(self) -> Places:
        return offsets_of(self.reach)


def offsets_of(reach: int) -> Places:
    """Of the pixels of a patch from its middle."""
    side = np.arange(-reach, reach + 1, dtype=np.int32)
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)


def errors_of(level: Level, found: Places) -> Floats:
    """Mean squared difference between the patches at the targets and at `found`."""
    width = level.picture.shape[1]
    flat = level.picture.reshape(-1, 3)
    steps = level.offsets[:, 0] * width + level.offsets[:, 1]
    at = level.targets[:, 0] * width + level.targets[:, 1]
    there = found[:, 0] * width + found[:, 1]
    total = np.zeros(len(found), dtype=np.float32)
    for step in steps:
        difference = flat[at + step] - flat[there + step]
        total += np.einsum("nc,nc->n", difference, difference)
    return total / len(steps)


def search(level: Level, rng: np.random.Generator) -> Generator[None, None, None]:
    """Better places for each target: those beside its neighbours', and random ones ever nearer to its own."""
    if len(level.targets) * int(level.is_source.sum()) <= ALL_PAIRS:
        _search_everywhere(level)
        yield
        return
    level.errors = errors_of(level, level.found)
    field = np.zeros((*level.hole.shape, 2), dtype=np.int32)
    is_target = np.zeros(level.hole.shape, dtype=np.bool_)
    is_target[tuple(level.targets.T)] = True
    limit = np.array(level.hole.shape, dtype=np.int32) - 1
    for distance in (4, 2, 1):
        for direction in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            shift = distance * np.array(direction, dtype=np.int32)
            field[tuple(level.targets.T)] = level.found
            beside = (level.targets + shift).clip(0, limit)
            _take_better(
                level,
                np.where(is_target[tuple(beside.T)][:, None], field[tuple(beside.T)] - shift, level.found),
            )
        yield
    radius = max(level.hole.shape)
    while radius >= 1:
        jump = rng.integers(-radius, radius + 1, size=level.found.shape, dtype=np.int32)
        _take_better(level, level.found + jump)
        radius //= 2
        yield


def _search_everywhere(level: Level) -> None:
    """The best place of all for each target."""
    sources = np.argwhere(level.is_source).astype(np.int32)
    wanted = patches_at(level.picture - 128, level.targets, level.reach)
    offered = patches_at(level.picture - 128, sources, level.reach)
    lengths = np.einsum("np,np->n", offered, offered)
    scores = lengths[None, :] - 2 * (wanted @ offered.T)
    best = scores.argmin(axis=1)
    level.found = sources[best]
    level.errors = errors_of(level, level.found)


def patches_at(picture: Floats, middles: Places, reach: int) -> Floats:
    """[N, pixels * 3]."""
    width = picture.shape[1]
    steps = offsets_of(reach) @ np.array([width, 1], dtype=np.int32)
    places = (middles @ np.array([width, 1], dtype=np.int32))[:, None] + steps[None, :]
    return picture.reshape(-1, 3)[places].reshape(len(middles), -1)


def _take_better(level: Level, proposed: Places) -> None:
    limit = np.array(level.hole.shape, dtype=np.int32) - 1
    proposed = proposed.clip(0, limit)
    usable = np.flatnonzero(level.is_source[tuple(proposed.T)] & (proposed != level.found).any(axis=1))
    if not usable.size:
        return
    asked = Level(
        level.picture,
        level.hole,
        level.reach,
        level.targets[usable],
        level.is_source,
        proposed[usable],
        level.errors[usable],
    )
    errors = errors_of(asked, asked.found)
    is_better = errors < level.errors[usable]
    level.found[usable[is_better]] = proposed[usable][is_better]
    level.errors[usable[is_better]] = errors[is_better]


def average(level: Level, *, is_sharp: bool) -> Generator[None, None, None]:
    """Give each pixel of the hole the mean of what the patches over it found, good ones first."""
    (top, left), (bottom, right) = level.targets.min(axis=0), level.targets.max(axis=0) + 1
    window = np.s_[top - level.reach : bottom + level.reach, left - level.reach : right + level.reach]
    hole, picture = level.hole[window], level.picture[window]
    mean, covered = yield from _mean(level, hole.shape, is_sharp=is_sharp)
    yield
    known = picture.copy()
    picture[hole] = mean[hole]
    if is_sharp:
        tint = yield from _tint(known, mean, hole, covered & ~hole, level.reach)
        picture[hole] += tint[hole]
    # The rim of the picture, where no patch fits, is carried out from what was found.
    bare = level.hole.copy()
    bare[window] &= ~covered
    if bare.any():
        level.picture = stretch(level.picture, ~bare)


def _mean(
    level: Level, shape: tuple[int, ...], *, is_sharp: bool
) -> Generator[None, None, tuple[Floats, Flags]]:
    """Weighted means in the window of this shape around all patches, and where there are any."""
    width, wide = level.picture.shape[1], shape[1]
    total = np.zeros((shape[0] * wide, 3), dtype=np.float32)
    weights = np.full(shape[0] * wide, 1e-12, dtype=np.float32)
    worth = _worth(level, is_sharp=is_sharp)
    at = (level.targets - level.targets.min(axis=0) + level.reach) @ np.array([wide, 1])
    there = level.found @ np.array([width, 1])
    flat = level.picture.reshape(-1, 3)
    summed = 0
    for down, across in level.offsets:
        # Middles count for more than rims, the more so at the end: averages of rims blur.
        near = np.exp(-(down**2 + across**2) / (2 * (level.reach / (4 if is_sharp else 1)) ** 2))
        share = worth * np.float32(near)
        step = down * wide + across
        total[at + step] += share[:, None] * flat[there + (down * width + across)]
        weights[at + step] += share
        summed += len(at)
        if summed > MOST_SUMMED:
            yield
            summed = 0
    mean = (total / weights[:, None]).reshape(*shape, 3)
    return mean, (weights > 1e-11).reshape(shape)


def _worth(level: Level, *, is_sharp: bool) -> Floats:
    """What each target's find counts for: little where it fits badly, and little far inside the hole.

    What is known comes in from the rim; without the second, the middle would settle first, on anything.
    """
    spread = np.quantile(level.errors, 0.3 if is_sharp else 0.75) + 1.0
    worth = np.exp(-level.errors / (2 * spread)).astype(np.float32)
    if not is_sharp:
        depth = cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 5)[tuple(level.targets.T)]
        worth *= np.float32(FADING) ** -np.minimum(depth, 60)
    return worth + np.float32(1e-9)


def _tint(known: Floats, mean: Floats, hole: Flags, rim: Flags, reach: int) -> Generator[None, None, Floats]:
    """What to add in the hole so that its light meets its rim's: the rim less what was found for it."""
    if not rim.any():
        return np.zeros_like(mean)
    missed = np.where(rim[:, :, None], known - mean, 0)
    # Averages along the rim: single pixels differ by their grain, which must not be smeared inwards.
    side = (4 * reach + 1,) * 2
    shares = np.maximum(cv2.blur(rim.astype(np.float32), side), 1e-6)
    films = []
    for channel in range(3):
        even = cv2.blur(np.ascontiguousarray(missed[:, :, channel]), side) / shares
        films.append(stretch(even, ~hole))
        yield
    return np.dstack(films)
