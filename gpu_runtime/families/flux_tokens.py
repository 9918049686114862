"""FLUX.1's latents as tokens: 2 x 2 latent pixels each, and where each of them stands.

Everywhere else latents are [B, C, h, w]: samplers work element by element, so packing around the transformer
alone gives the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

PATCH = 2
"""Latent pixels on each side of a token."""


def packed(latents: Tensor) -> Tensor:
    """[B, C, h, w] to [B, tokens, 4 C], row by row of the image; a channel's pixels stay side by side."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH**2)


def unpacked(tokens: Tensor, like: Tensor) -> Tensor:
    """The inverse of `packed`, to the shape of `like`."""
    batch, channels, height, width = like.shape
    patches = tokens.view(batch, height // PATCH, width // PATCH, channels, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)


def positions(latents: Tensor, *, picture: int = 0) -> Tensor:
    """Where each token stands: float32 [tokens, 3] on the device with picture, row, column.

    0 is the picture that is made; what it is made from counts from 1, each with rows and columns of its own.
    Source: Black Forest Labs 2025, FLUX.1 Kontext, arXiv:2506.15742, section 3.
    """
    rows, columns = (side // PATCH for side in latents.shape[-2:])
    down = torch.arange(rows, dtype=torch.float32, device=latents.device)
    right = torch.arange(columns, dtype=torch.float32, device=latents.device)
    grid = torch.stack(torch.meshgrid(down, right, indexing="ij"), dim=-1)
    return torch.nn.functional.pad(grid.view(-1, 2), (1, 0), value=float(picture))
