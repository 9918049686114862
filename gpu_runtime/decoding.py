"""Images of final latents, also where memory is short.

Each rung of the ladder is taken by the images that did not fit on the one before: all at once and in halves
down to one; once more without other weights on the device; in tiles. Large images are decoded in tiles from
the start (`families/tiling.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from gpu_runtime.device_faults import call_in_halves
from gpu_runtime.families.family import Family
from gpu_runtime.families.tiling import can_tile, factor_of, tiled, tiled_if_large


def decode(family: Family, latents: Tensor, vae: Any, *, make_room: Callable[[], int]) -> list[Tensor | None]:
    """Float32 [1, 3, H, W] for each of the latents [B, C, h, w]; None for what fits nowhere.

    `vae` is as in `Family.decode`. `make_room` frees memory and returns how many bytes, 0 in the end. Raises
    what decoding raises besides lack of memory.
    """
    autoencoder = vae or family.vae
    longest = max(latents.shape[-2:])
    with tiled_if_large(autoencoder, longest * factor_of(autoencoder) if can_tile(autoencoder) else 0):
        images = call_in_halves(lambda part: family.decode(latents[part], vae), len(latents))
        while _lacks_any(images) and make_room():
            _retry(images, family, latents, vae)
    if _lacks_any(images) and can_tile(autoencoder):
        # Its own size may be that of the whole image, which would leave it in one piece.
        with tiled(autoencoder, min(autoencoder.tile_latent_min_size, -(-longest // 2))):
            _retry(images, family, latents, vae)
    return images


def _retry(images: list[Tensor | None], family: Family, latents: Tensor, vae: Any) -> None:
    """Decode what is missing, one image at a time."""
    for index, image in enumerate(images):
        if image is None:
            images[index] = _decode_one(family, latents[index : index + 1], vae)


def _decode_one(family: Family, latents: Tensor, vae: Any) -> Tensor | None:
    return call_in_halves(lambda part: family.decode(latents[part], vae), 1)[0]


def _lacks_any(images: list[Tensor | None]) -> bool:
    return any(image is None for image in images)
