"""Several pictures to begin from: upstream's batch, with a job for each image.

The pictures are one batch, whatever `batch_size` is, and `n_iter` says how often the batch is done. Seeds
count up through all of its images, so that a picture gets the seed that it gets there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from apps.api.a1111.errors import BadField
from apps.generation.request import MAX_IMAGES, MAX_SEED, GenerationRequest
from apps.generation.wishes import StoredPicture, VariationWish


def batch_of(
    first: GenerationRequest, pictures: Sequence[StoredPicture], *, turns: int
) -> list[GenerationRequest]:
    """A request for each image: all pictures, `turns` times. `first` is that of the first image.

    Raises BadField for more images than a request may have.
    """
    count = len(pictures) * turns
    if count > MAX_IMAGES:
        problem = f"times the pictures of init_images must be at most {MAX_IMAGES}, not {count}"
        raise BadField("n_iter", f"{problem}: send several requests")
    seed = _drawn(first.seed)
    variation_seed = _drawn(first.variation.seed if first.variation else None)
    return [
        replace(
            first,
            image=pictures[number % len(pictures)],
            seed=_counted(seed, number),
            variation=_varied(first.variation, _counted(variation_seed, number)),
        )
        for number in range(count)
    ]


def _drawn(seed: int | None) -> int:
    return secrets.randbelow(MAX_SEED + 1) if seed is None else seed


def _counted(seed: int, number: int) -> int:
    return (seed + number) % (MAX_SEED + 1)


def _varied(wish: VariationWish | None, seed: int) -> VariationWish | None:
    return replace(wish, seed=seed) if wish is not None else None
