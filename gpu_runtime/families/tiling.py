"""Autoencoders that work in tiles: which pictures, of what size, and the switch.

Large pictures are encoded and decoded in tiles from the start, whatever memory there is: 2048 x 2048 pixels
take four times the memory of half the sides and hold up the running rows as long, and an image must not
depend on what else is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from gpu_runtime.families.edges import plain_edges

SETTINGS = ("use_tiling", "tile_latent_min_size", "tile_sample_min_size")
"""Of diffusers' autoencoders: what `tiled` changes for a while."""

WHOLE_PX = 1536
"""Longest side of a picture that is encoded or decoded in one piece."""

TILE_PX = 1024
"""Side of the tiles of larger ones: what most autoencoders saw whole in training."""


def can_tile(autoencoder: Any) -> bool:
    """Whether one of diffusers' autoencoders (untyped) knows tiles; tiny ones need none."""
    return hasattr(autoencoder, "tiled_decode")


def tiled_if_large(autoencoder: Any, longest_px: int) -> AbstractContextManager[None]:
    """`tiled` for pictures whose longest side is this, if it is above WHOLE_PX; otherwise nothing changes."""
    if not can_tile(autoencoder) or longest_px <= WHOLE_PX:
        return nullcontext()
    return tiled(autoencoder, TILE_PX // factor_of(autoencoder))


@contextmanager
def tiled(autoencoder: Any, side: int) -> Iterator[None]:
    """Have one of diffusers' autoencoders (untyped) work in tiles of `side` latent pixels within the block.

    Tiles overlap and are blended, but see less of the image: colours may differ a little from tile to tile.
    Their edges are not those of the image, and so do not wrap around.
    """
    before = {name: getattr(autoencoder, name) for name in SETTINGS}
    try:
        autoencoder.use_tiling = True
        autoencoder.tile_latent_min_size = side
        autoencoder.tile_sample_min_size = side * factor_of(autoencoder)
        with plain_edges():
            yield
    finally:
        for name, value in before.items():
            setattr(autoencoder, name, value)


def factor_of(autoencoder: Any) -> int:
    """Pixels of an image for each latent pixel, on each side."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))
