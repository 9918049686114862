"""A large picture cut into parts that are worked on one at a time, so that other work may run in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from gpu_runtime.postprocess.channels import Flags

Part: TypeAlias = tuple[slice, slice]
"""Rows and columns."""

PART_PX = 256
"""Sides of a part: arithmetic on a few planes of it takes 20 ms."""


def parts_with(wanted: Flags) -> Iterator[tuple[float, Part]]:
    """Each part that has something wanted in it, and what share of the picture lies before its end."""
    height, width = wanted.shape
    for top in range(0, height, PART_PX):
        bottom = min(top + PART_PX, height)
        for left in range(0, width, PART_PX):
            right = min(left + PART_PX, width)
            part = (slice(top, bottom), slice(left, right))
            if wanted[part].any():
                yield (top + (bottom - top) * right / width) / height, part


def around(part: Part, reach_px: int) -> tuple[Part, Part]:
    """The part with what lies around it, and where in that it is itself."""
    starts = [max(0, side.start - reach_px) for side in part]
    rows, columns = (slice(start, side.stop + reach_px) for start, side in zip(starts, part, strict=True))
    inner_rows, inner_columns = (
        slice(side.start - start, side.stop - start) for start, side in zip(starts, part, strict=True)
    )
    return (rows, columns), (inner_rows, inner_columns)
