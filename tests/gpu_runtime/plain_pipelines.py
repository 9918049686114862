"""One image of a plain diffusers pipeline, called as a request says, with its final latents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline
from torch import Tensor

from gpu_runtime.messages import ImageRequest
from tests.gpu_runtime.rendering import Rendered

_VAE_FACTOR = 8


def run_plainly(pipeline: Any, request: ImageRequest, **arguments: Any) -> Rendered:
    """The request's first image; `arguments` join what every pipeline takes, or stand in its place."""
    seen: list[Tensor] = []

    def remember(_pipeline: Any, _step: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tensors["latents"])
        return tensors

    common = {
        "prompt": request.prompt,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "generator": torch.Generator("cpu").manual_seed(request.seeds[0]),
        "callback_on_step_end": remember,
    }
    image = pipeline(**{**common, **arguments}).images[0]
    return Rendered(_unpacked(request, seen[-1]), np.asarray(image).astype(np.int16))


def size_of(request: ImageRequest) -> dict[str, int]:
    """What pipelines take that are not given a picture of the size wanted."""
    return {"width": request.width, "height": request.height}


def _unpacked(request: ImageRequest, latents: Tensor) -> Tensor:
    """Flux's pipelines keep 2 x 2 latent pixels as one token."""
    if request.checkpoint.family != "flux":
        return latents
    unpacked: Tensor = FluxPipeline._unpack_latents(latents, request.height, request.width, _VAE_FACTOR)
    return unpacked
