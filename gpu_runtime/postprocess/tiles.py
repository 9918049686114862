"""Which part of a picture each tile of an enlargement sees and makes, and how tiles are joined.

Each tile sees `overlap` pixels more than it makes, so that what the edge of its sight does to a network is
cut off; within the overlap, neighbours fade into each other over a few pixels. Where the overlap reaches as
far as the network sees and the fade on top, nothing tells that there were tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.postprocess.channels import Floats, Picture

FADE_PX = 4
"""Pixels of the source at each side of a join in which two tiles mix; no more than half the overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One tile along one side."""

    start: int
    stop: int
    """Pixels of the source that it sees."""
    made_start: int
    made_stop: int
    """Pixels of the result that it makes."""
    fade: int
    """How many of those, from `made_start` on, mix with what the tile before made."""


def spans(length: int, made: int, *, tile: int, overlap: int, align: int = 1) -> list[Span]:
    """Tiles of a side of `length` pixels that becomes one of `made` pixels, in order.

    All see `tile` pixels (a little less or more where `align` asks for it) unless the side is shorter; starts
    are multiples of `align`. Raises UnsupportedCombination when the overlap leaves nothing of a tile.
    """
    tile -= tile % align
    # A tile's start and its joins are rounded.
    core = tile - 2 * (overlap + align)
    if core < 1 or overlap < 0:
        raise UnsupportedCombination(f"tiles of {tile} pixels cannot overlap by {overlap}: less than half")
    if length <= tile:
        return [Span(start=0, stop=length, made_start=0, made_stop=made, fade=0)]
    count = ceil(length / core)
    fade = round(min(FADE_PX, overlap // 2) * made / length)
    joins = [round(made * number / count) for number in range(count + 1)]
    result = []
    for number in range(count):
        is_first, is_last = number == 0, number == count - 1
        centre = (number + 0.5) * length / count
        last_start = (length - tile) // align * align
        start = min(max(0, int(centre - tile / 2) // align * align), last_start)
        result.append(
            Span(
                start=start,
                stop=length if start == last_start else start + tile,
                made_start=joins[number] - (0 if is_first else fade),
                made_stop=joins[number + 1] + (0 if is_last else fade),
                fade=0 if is_first else 2 * fade,
            )
        )
    return result


def lay(canvas: Picture, piece: Picture, down: Span, across: Span) -> None:
    """Write a tile into the canvas; it mixes with the tiles above and left of it, which are there already."""
    there = canvas[down.made_start : down.made_stop, across.made_start : across.made_stop]
    if down.fade:
        piece[: down.fade] = _mixed(there[: down.fade], piece[: down.fade], _ramp(down.fade)[:, None, None])
    if across.fade:
        left = np.s_[:, : across.fade]
        piece[left] = _mixed(there[left], piece[left], _ramp(across.fade)[None, :, None])
    there[:] = piece


def _ramp(length: int) -> Floats:
    return (np.arange(length, dtype=np.float32) + 0.5) / length


def _mixed(before: Picture, after: Picture, share: Floats) -> Picture:
    return np.round(before * (1 - share) + after * share).astype(np.uint8)
