"""Images of final latents, also where memory is short.

Each rung of the ladder is taken by the images that did not fit on the one before: all at once and in halves
down to one; once more without other weights on the device; in tiles. Large images are decoded in tiles from
the start, whatever memory there is: a decode of 2048 x 2048 pixels takes four times the memory of one of half
the sides and holds up the running rows as long, and an image must not depend on what else is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor

from gpu_runtime.device_faults import call_in_halves
from gpu_runtime.families.family import Family

TILING = ("use_tiling", "tile_latent_min_size", "tile_sample_min_size")
"""Settings of diffusers' autoencoders that `tiled` changes for a while."""

WHOLE_PX = 1536
"""Longest side of an image that is decoded in one piece."""

TILE_PX = 1024
"""Side of the tiles of larger ones: what most autoencoders saw whole in training."""


def decode(family: Family, latents: Tensor, vae: Any, *, make_room: Callable[[], int]) -> list[Tensor | None]:
    """Float32 [1, 3, H, W] for each of the latents [B, C, h, w]; None for what fits nowhere.

    `vae` is as in `Family.decode`. `make_room` frees memory and returns how many bytes. Raises what decoding
    raises besides lack of memory.
    """
    autoencoder = vae or family.vae
    can_tile = hasattr(autoencoder, "tiled_decode")
    longest = max(latents.shape[-2:])
    is_large = can_tile and longest * _factor(autoencoder) > WHOLE_PX
    with tiled(autoencoder, TILE_PX // _factor(autoencoder)) if is_large else nullcontext():
        images = call_in_halves(lambda part: family.decode(latents[part], vae), len(latents))
        if _lacks_any(images) and make_room():
            _retry(images, family, latents, vae)
    if _lacks_any(images) and can_tile:
        # Its own size may be that of the whole image, which would leave it in one piece.
        with tiled(autoencoder, min(autoencoder.tile_latent_min_size, -(-longest // 2))):
            _retry(images, family, latents, vae)
    return images


@contextmanager
def tiled(autoencoder: Any, side: int) -> Iterator[None]:
    """Have one of diffusers' autoencoders (untyped) decode in tiles of `side` latent pixels within the block.

    Tiles overlap and are blended, but see less of the image: colours may differ a little from tile to tile.
    """
    before = {name: getattr(autoencoder, name) for name in TILING}
    factor = _factor(autoencoder)
    try:
        autoencoder.use_tiling = True
        autoencoder.tile_latent_min_size = side
        autoencoder.tile_sample_min_size = side * factor
        yield
    finally:
        for name, value in before.items():
            setattr(autoencoder, name, value)


def _factor(autoencoder: Any) -> int:
    """Pixels of an image for each latent pixel, on each side."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))


def _retry(images: list[Tensor | None], family: Family, latents: Tensor, vae: Any) -> None:
    """Decode what is missing, one image at a time."""
    for index, image in enumerate(images):
        if image is None:
            images[index] = _decode_one(family, latents[index : index + 1], vae)


def _decode_one(family: Family, latents: Tensor, vae: Any) -> Tensor | None:
    return call_in_halves(lambda part: family.decode(latents[part], vae), 1)[0]


def _lacks_any(images: list[Tensor | None]) -> bool:
    return any(image is None for image in images)
