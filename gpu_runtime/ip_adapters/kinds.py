"""What is particular to the IP-adapters of each kind of denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.ip_adapters import cross_attention, flux_attention, sd3_attention
from gpu_runtime.ip_adapters.build import LoadedAdapter, build_for_flux, build_for_sd3, build_for_unet
from gpu_runtime.ip_adapters.layout import Make
from gpu_runtime.ip_adapters.seeing import black_pixels, no_pixels, seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of denoiser."""

    makes: frozenset[Make]
    encoder: str
    """Class of its encoder of pictures."""
    shapes: Sequence[tuple[int, ...]]
    """Of the keys' weights that its attention layers want, [out, in]."""
    build: Callable[[Path, torch.device, torch.dtype], LoadedAdapter]
    see_nothing: Callable[[Any, Make], Tensor]
    """What stands for one absent picture in unconditional rows, [1, ...]. Any: an untyped encoder."""
    is_projected_once: bool = True
    """Whether tokens are made of what is seen before the first step; else anew at each."""
    most_pictures: int | None = None
    """Of all adapters together, None for any number."""


def unet_kind(unet: Any) -> Kind:
    """Stable Diffusion 1, 2 and XL. Any: untyped in diffusers."""
    return Kind(
        makes=frozenset({Make.PLAIN, Make.FULL, Make.PLUS}),
        encoder="CLIPVisionModelWithProjection",
        shapes=cross_attention.layer_shapes(unet),
        build=build_for_unet,
        see_nothing=_zeros_or_what_is_seen_in_them,
    )


def flux_kind(transformer: Any) -> Kind:
    """FLUX.1. Any: untyped in diffusers."""
    return Kind(
        makes=frozenset({Make.PLAIN}),
        encoder="CLIPVisionModelWithProjection",
        shapes=flux_attention.layer_shapes(transformer),
        build=build_for_flux,
        see_nothing=lambda encoder, _make: seen(encoder, black_pixels(encoder), is_summary=True),
    )


def sd3_kind(transformer: Any) -> Kind:
    """Stable Diffusion 3. Any: untyped in diffusers."""
    return Kind(
        makes=frozenset({Make.TIMED}),
        encoder="SiglipVisionModel",
        shapes=sd3_attention.layer_shapes(transformer),
        build=partial(build_for_sd3, config=transformer.config),
        see_nothing=lambda encoder, _make: torch.zeros_like(
            seen(encoder, no_pixels(encoder), is_summary=False)
        ),
        is_projected_once=False,
        # As many as the reference takes.
        most_pictures=1,
    )


def _zeros_or_what_is_seen_in_them(encoder: Any, make: Make) -> Tensor:
    """Zeros for a summary, what the encoder sees in zeros for its tokens."""
    looked = seen(encoder, no_pixels(encoder), is_summary=not make.reads_hidden_states)
    return looked if make.reads_hidden_states else torch.zeros_like(looked)
