"""Images of final latents, also where memory is short.

Each rung of the ladder is taken by the images that did not fit on the one before: all at once and in halves
down to one; once more without other weights on the device; in tiles. Large images are decoded in tiles from
the start (`families/tiling.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.device_faults import call_in_halves
from gpu_runtime.execution.wrapping import wrapping
from gpu_runtime.families.family import Family
from gpu_runtime.families.tiling import can_tile, factor_of, tiled, tiled_if_large

WRAPPED_LATENTS = 16
"""What an image decoded in tiles gets from its other edges, on each side: at least what tiles overlap."""


def decode(
    family: Family, latents: Tensor, vae: Any, *, make_room: Callable[[], int], is_seamless: bool = False
) -> list[Tensor | None]:
    """Float32 [1, 3, H, W] for each of the latents [B, C, h, w]; None for what fits nowhere.

    `vae` is as in `Family.decode`. `make_room` frees memory and returns how many bytes, 0 in the end.
    `is_seamless`: edges go on from the edges across. Raises what decoding raises besides lack of memory.
    """
    autoencoder = vae or family.vae
    longest = max(latents.shape[-2:])
    run = _Run(family, vae, is_seamless)
    with tiled_if_large(autoencoder, longest * factor_of(autoencoder) if can_tile(autoencoder) else 0):
        images = call_in_halves(lambda part: run(latents[part]), len(latents))
        while _lacks_any(images) and make_room():
            _retry(images, run, latents)
    if _lacks_any(images) and can_tile(autoencoder):
        # Its own size may be that of the whole image, which would leave it in one piece.
        with tiled(autoencoder, min(autoencoder.tile_latent_min_size, -(-longest // 2))):
            _retry(images, run, latents)
    return images


@dataclass(frozen=True, slots=True)
class _Run:
    """Decodes some latents once."""

    family: Family
    vae: Any
    """As in `Family.decode`."""
    is_seamless: bool

    def __call__(self, latents: Tensor) -> Tensor:
        if not self.is_seamless:
            return self.family.decode(latents, self.vae)
        if getattr(self.vae or self.family.vae, "use_tiling", False):
            return self._beside_itself(latents)
        with wrapping():
            return self.family.decode(latents, self.vae)

    def _beside_itself(self, latents: Tensor) -> Tensor:
        """Tiles do not wrap around; so the image gets a margin of its other edges, which is then cut off."""
        margin = min(WRAPPED_LATENTS, *latents.shape[-2:])
        wider = torch.nn.functional.pad(latents, (margin,) * 4, mode="circular")
        cut = margin * factor_of(self.vae or self.family.vae)
        return self.family.decode(wider, self.vae)[..., cut:-cut, cut:-cut]


def _retry(images: list[Tensor | None], run: _Run, latents: Tensor) -> None:
    """Decode what is missing, one image at a time."""
    for index, image in enumerate(images):
        if image is None:
            images[index] = _decode_one(run, latents[index : index + 1])


def _decode_one(run: _Run, latents: Tensor) -> Tensor | None:
    return call_in_halves(lambda part: run(latents[part]), 1)[0]


def _lacks_any(images: list[Tensor | None]) -> bool:
    return any(image is None for image in images)
