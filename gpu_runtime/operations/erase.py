"""`mask.erase`: what a mask marks taken out of a picture, and the rest of the picture carried on over it."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from gpu_runtime.errors import PictureUnusable
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.operations.masks import mask_for
from gpu_runtime.postprocess.channels import Mask, as_rgb, has_alpha
from gpu_runtime.postprocess.completion import complete
from gpu_runtime.postprocess.painting import mix

MOST_PX = 12_000
"""Pixels of a hole that are searched for one by one: about a second on one core."""

AROUND = 1.5
"""Of the hole's longer side, on each side, from which its filling may come: the same wall, not another."""

LEAST_AROUND_PX = 96


def erase(context: Context) -> Iterator[float]:
    """Image, mask -> image; unmarked pixels keep their bytes."""
    picture = context.picture("image")
    mask = mask_for(context, picture)
    if not mask.any():
        context.put("image", picture)
        return
    if mask.all():
        raise PictureUnusable(
            "the mask marks the whole picture: nothing is left to fill it with", code="mask_full"
        )
    reach_px = max(2, (context.whole("radius", 5) + 1) // 2)
    made = yield from filled(as_rgb(picture), mask, reach_px=reach_px, rng=context.rng)
    if has_alpha(picture):
        made = np.dstack([made, picture[:, :, 3]])
    context.put("image", made)


def filled(
    picture: Picture, mask: Mask, *, reach_px: int, rng: np.random.Generator
) -> Generator[float, None, Picture]:
    """RGB with what is marked replaced from around it; soft marks mix."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    around = max(LEAST_AROUND_PX, round(AROUND * max(rows[-1] - rows[0], columns[-1] - columns[0])))
    part = np.s_[
        max(0, rows[0] - around) : rows[-1] + 1 + around,
        max(0, columns[0] - around) : columns[-1] + 1 + around,
    ]
    made = picture.copy()
    made[part] = yield from complete(
        np.ascontiguousarray(picture[part]), mask[part] > 0, reach_px=reach_px, most_px=MOST_PX, rng=rng
    )
    return mix(picture, made, mask)
