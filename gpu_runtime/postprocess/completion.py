"""A hole in a picture filled with what the rest of it looks like: grain, waves, brick.

Patches along and in the hole look for similar ones elsewhere, coarse to fine; where they are found, their
colours are averaged into the hole. No network: it repeats what is there and invents nothing.

Sources: Wexler, Shechtman and Irani 2007, "Space-Time Completion of Video" (the alternation); Barnes et al.
2009, "PatchMatch" (the search).
"""

from __future__ import annotations

from collections.abc import Generator

import cv2
import numpy as np

from gpu_runtime.postprocess.channels import Flags, Floats, Picture
from gpu_runtime.postprocess.membranes import stretch
from gpu_runtime.postprocess.patches import (
    Level,
    Places,
    average,
    patches_at,
    search,
)
from gpu_runtime.postprocess.pieces import with_share

SMALLEST_HOLE_PX = 5
"""Radius of a hole, and SMALLEST_SIDE_PX of a picture, below which the pyramid ends."""

SMALLEST_SIDE_PX = 48

ALIKE = 225.0
"""Mean squared difference of patches, 0 to 255, that are alike in any picture: 15 levels."""

UNLIKE = 1500.0
"""The same of patches that are not: where a rim crosses several things, none is like another."""

MOST_RIM = 600
"""Patches around a hole that others are compared with."""

ROUNDS = (8, 3, 2, 1)
"""Searches, each followed by an average, from the coarsest level on; the last holds for all further ones."""


def complete(
    picture: Picture, hole: Flags, *, reach_px: int, most_px: int, rng: np.random.Generator
) -> Generator[float, None, Picture]:
    """RGB with the hole filled; the rest keeps its bytes. Yields the share that is done.

    `reach_px` is the radius of the patches. Holes of more than `most_px` pixels are searched on a smaller
    picture, which bounds the time; colours come from the full one always. A picture that is nearly all hole
    gets a film of its colours.
    """
    scale = 0
    while hole.sum() / 4**scale > most_px:
        scale += 1
    pyramid = yield from with_share(_pyramid(picture, hole, reach_px), 0.0)
    scale = min(scale, len(pyramid) - 1)
    usable = [each for each in pyramid[scale:] if _sources(each[1], reach_px).any()]
    if not usable:
        result = stretch(picture.astype(np.float32), ~hole)
        return np.round(np.clip(result, 0, 255)).astype(np.uint8)
    level: Level | None = None
    total = sum(4.0**-number for number in range(len(usable)))
    done = 0.0
    for number, (smaller, missing) in enumerate(reversed(usable)):
        if level is None:
            level = yield from with_share(_first_level(smaller, missing, reach_px, rng), 0.0)
        else:
            level = yield from with_share(_next_level(level, smaller, missing, rng), done)
        weight = 4.0 ** (number - len(usable) + 1) / total
        rounds = ROUNDS[min(number, len(ROUNDS) - 1)]
        for turn in range(rounds):
            share = done + weight * turn / rounds
            yield from with_share(search(level, rng), share)
            yield from with_share(average(level, is_sharp=turn == rounds - 1), share)
        done += weight
    assert level is not None
    for larger, missing in reversed(pyramid[:scale]):
        level = yield from with_share(_next_level(level, larger, missing, rng), 1.0)
        yield 1.0
    result = picture.copy()
    result[hole] = np.round(np.clip(level.picture[hole], 0, 255))
    return result


def _pyramid(picture: Picture, hole: Flags, reach: int) -> Generator[None, None, list[tuple[Floats, Flags]]]:
    """From the full size down; what mixes with the hole counts as hole."""
    levels = [(picture.astype(np.float32), hole)]
    while True:
        larger, missing = levels[-1]
        depth = cv2.distanceTransform(missing.astype(np.uint8), cv2.DIST_C, 3).max()
        size = (larger.shape[1] // 2, larger.shape[0] // 2)
        if depth <= SMALLEST_HOLE_PX or min(size) < max(SMALLEST_SIDE_PX, 4 * reach):
            return levels
        yield
        mixed = cv2.resize(missing.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        known = np.where(missing[:, :, None], np.float32(0), larger)
        yield
        weights = cv2.resize((~missing).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        sums = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        small = (sums / np.maximum(weights, 1e-3)[:, :, None]).astype(np.float32)
        levels.append((small, mixed))


def _sources(hole: Flags, reach: int) -> Flags:
    """Middles of patches that lie in the picture and touch no hole."""
    touched = cv2.dilate(hole.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    return ~touched & _middles(hole.shape, reach)


def _middles(shape: tuple[int, ...], reach: int) -> Flags:
    result = np.zeros(shape, dtype=np.bool_)
    result[reach : shape[0] - reach, reach : shape[1] - reach] = True
    return result


def _first_level(
    picture: Floats, hole: Flags, reach: int, rng: np.random.Generator
) -> Generator[None, None, Level]:
    """The coarsest level, with something in the hole to begin from and nothing found yet."""
    is_source = _sources(hole, reach)
    is_source = _like_the_rim(picture, hole, is_source, reach, rng)
    yield
    targets = _targets(hole, reach)
    places = np.argwhere(is_source).astype(np.int32)
    found = places[rng.integers(len(places), size=len(targets))]
    begun = yield from _grown_in(picture, hole, is_source, reach)
    return Level(begun, hole, reach, targets, is_source, found, np.ones(len(targets), np.float32))


def _like_the_rim(
    picture: Floats, hole: Flags, is_source: Flags, reach: int, rng: np.random.Generator
) -> Flags:
    """The sources that are like something around the hole.

    A wall is filled with wall: without this a face nearby may be what continues a dark rim best.
    """
    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
    rim = np.argwhere(is_source & (away <= 2 * reach)).astype(np.int32)
    sources = np.argwhere(is_source).astype(np.int32)
    if len(rim) < 8:
        return is_source
    rim = rim[rng.permutation(len(rim))[:MOST_RIM]]
    wanted = patches_at(picture, rim, reach)
    # How like each other patches of the rim are, those that overlap apart: that much likeness is asked for.
    among = _distances(wanted, wanted)
    among[np.abs(rim[:, None] - rim[None]).max(axis=2) <= reach] = np.inf
    own = among.min(axis=1)
    usual = float(np.median(own[np.isfinite(own)])) if np.isfinite(own).any() else 0.0
    nearest = np.concatenate(
        [
            _distances(patches_at(picture, sources[part : part + 1024], reach), wanted).min(axis=1)
            for part in range(0, len(sources), 1024)
        ]
    )
    result = np.zeros_like(is_source)
    result[tuple(sources[nearest <= np.clip(2 * usual, ALIKE, UNLIKE)].T)] = True
    return result


def _distances(these: Floats, those: Floats) -> Floats:
    """Mean squared differences, [N, M]."""
    lengths = [np.einsum("np,np->n", each, each) for each in (these, those)]
    return (lengths[0][:, None] + lengths[1][None, :] - 2 * these @ those.T) / these.shape[1]


def _targets(hole: Flags, reach: int) -> Places:
    touched = cv2.dilate(hole.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    return np.argwhere(touched & _middles(hole.shape, reach)).astype(np.int32)


def _next_level(
    before: Level, picture: Floats, hole: Flags, rng: np.random.Generator
) -> Generator[None, None, Level]:
    """A level begun from the one before, which is half as large."""
    reach = before.reach
    allowed = cv2.resize(before.is_source.astype(np.uint8), hole.shape[::-1], interpolation=cv2.INTER_NEAREST)
    is_source = _sources(hole, reach)
    if (is_source & (allowed > 0)).any():
        is_source &= allowed > 0
    targets = _targets(hole, reach)
    found = _enlarged(before, targets, hole.shape)
    level = Level(picture, hole, reach, targets, is_source, found, np.ones(len(targets), np.float32))
    _replace_unusable(level, rng)
    yield
    # A soft picture would ask for soft patches: what is found last is flat.
    yield from average(level, is_sharp=True)
    return level


def _grown_in(picture: Floats, hole: Flags, is_source: Flags, reach: int) -> Generator[None, None, Floats]:
    """The hole filled from its rim inwards, each pixel from the place whose known surroundings are alike.

    A film would do for the colours, but flat patches are what is most like a film.
    """
    result, unknown = picture.copy(), hole.copy()
    sources = np.argwhere(is_source).astype(np.int32)
    sources = sources[:: max(1, len(sources) // 4000)]
    offered = patches_at(result, sources, reach)
    low, high = reach, np.array(hole.shape) - 1 - reach
    while unknown.any():
        rim = unknown & ~(cv2.erode(unknown.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
        # A hole without a rim is bounded by the picture's own border.
        pixels = np.argwhere(rim if rim.any() else unknown).astype(np.int32)
        middles = pixels.clip(low, high).astype(np.int32)
        known = np.repeat((~unknown)[:, :, None], 3, axis=2).astype(np.float32)
        counts = patches_at(known, middles, reach)
        wanted = patches_at(result, middles, reach)
        for part in range(0, len(pixels), 256):
            mine = slice(part, part + 256)
            scores = counts[mine] @ (offered**2).T - 2 * (counts[mine] * wanted[mine]) @ offered.T
            best = sources[scores.argmin(axis=1)] + pixels[mine] - middles[mine]
            result[tuple(pixels[mine].T)] = result[tuple(best.T)]
        unknown[tuple(pixels.T)] = False
        yield
    return result


def _enlarged(before: Level, targets: Places, shape: tuple[int, ...]) -> Places:
    """The same shifts, twice as far."""
    field = np.full((*before.hole.shape, 2), -1, dtype=np.int32)
    field[tuple(before.targets.T)] = before.found - before.targets
    # Targets beside those of the smaller level look where the nearest of them does.
    nearest = np.clip(targets // 2, before.targets.min(axis=0), before.targets.max(axis=0))
    shifts = field[tuple(nearest.T)]
    return (targets + 2 * shifts).clip(0, np.array(shape[:2], dtype=np.int32) - 1)


def _replace_unusable(level: Level, rng: np.random.Generator) -> None:
    is_bad = ~level.is_source[tuple(level.found.T)]
    if not is_bad.any():
        return
    places = np.argwhere(level.is_source).astype(np.int32)
    level.found[is_bad] = places[rng.integers(len(places), size=int(is_bad.sum()))]
