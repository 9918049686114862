"""FLUX.1 Kontext's reference pictures: further tokens behind those of the picture that is made.

References: diffusers' FluxKontextPipeline for one picture. For several, each is a picture of its own to the
rotary embedding, counted from 1, as in Black Forest Labs 2025, arXiv:2506.15742, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from gpu_runtime.families.flux_tokens import PATCH, packed, positions
from gpu_runtime.families.pictures import encoded, most_likely, opened, pixels_at
from gpu_runtime.messages import ImageInput

VARIANT: Final = "kontext"
"""`CheckpointRef.variant` of Kontext. Its network is dev's: only the catalogue tells them apart."""

_UPRIGHT: Final = (
    (672, 1568),
    (688, 1504),
    (720, 1456),
    (752, 1392),
    (800, 1328),
    (832, 1248),
    (880, 1184),
    (944, 1104),
)

TRAINED_SIZES: Final = (*_UPRIGHT, (1024, 1024), *((height, width) for width, height in reversed(_UPRIGHT)))
"""Width and height of the pictures that Kontext was trained on; references are brought to one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The reference pictures of one request."""

    tokens: Tensor
    """[1, tokens, 64], the denoiser's dtype, on the device."""
    positions: Tensor
    """Float32 [tokens, 3], on the device: picture, row, column."""
    shape: tuple[int, ...]
    """Rows and columns of each picture's tokens: where these are equal, so are the positions."""


def read_references(pictures: Sequence[ImageInput], vae: Any, dtype: torch.dtype) -> References | None:
    """The pictures as tokens; None for none of them. `vae` is one of diffusers' autoencoders, untyped.

    Raises UnsupportedCombination for a picture that cannot be decoded.
    """
    if not pictures:
        return None
    latents = [_latents(picture, number, vae) for number, picture in enumerate(pictures, start=1)]
    return References(
        tokens=torch.cat([packed(each) for each in latents], dim=1).to(dtype),
        positions=torch.cat([positions(each, picture=i) for i, each in enumerate(latents, start=1)]),
        shape=tuple(side // PATCH for each in latents for side in each.shape[-2:]),
    )


def trained_size(width: int, height: int, multiple: int = 1) -> tuple[int, int]:
    """Width and height, of TRAINED_SIZES, whose ratio is nearest to that of a picture of this size.

    The ratio is that of the sides rounded down to whole multiples of `multiple` pixels.
    """
    width, height = (max(multiple, side - side % multiple) for side in (width, height))
    return min(TRAINED_SIZES, key=lambda size: (abs(width / height - size[0] / size[1]), size))


def _latents(picture: ImageInput, number: int, vae: Any) -> Tensor:
    """The most likely latents of a reference, float32 [1, C, h, w], on the device."""
    unpacked = opened(picture, f"reference image {number}")
    token_px = PATCH * 2 ** (len(vae.config.block_out_channels) - 1)
    width, height = trained_size(*unpacked.size, token_px)
    return most_likely(encoded(vae, pixels_at(unpacked, width, height)))
