"""Plain diffusers pipelines with adapters loaded through peft, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from gpu_runtime.messages import CheckpointRef, ImageRequest, Sampler
from gpu_runtime.samplers import SAMPLERS
from tests.gpu_runtime.rendering import Rendered

FLOW_FAMILIES = frozenset({"sd3", "flux"})


def plain_pipeline(checkpoint: CheckpointRef, sampler: Sampler = Sampler.EULER) -> Any:
    """A new pipeline of a checkpoint with the noise scheduler of a sampler. Any: untyped in diffusers."""
    pipeline = DiffusionPipeline.from_pretrained(checkpoint.path, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    if checkpoint.family not in FLOW_FAMILIES:
        spec = SAMPLERS[sampler]
        kind = getattr(diffusers, spec.scheduler)
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **spec.overrides)
    return pipeline


def load_loras(pipeline: Any, loras: Sequence[tuple[Path, float]]) -> None:
    """What a user of diffusers does for several adapters with strengths."""
    for position, (file, _) in enumerate(loras):
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=f"a{position}")
    names = [f"a{position}" for position in range(len(loras))]
    pipeline.set_adapters(names, [scale for _, scale in loras])


def render_plainly(pipeline: Any, request: ImageRequest) -> Rendered:
    """The request's first image."""
    seen: list[Tensor] = []

    def remember(_pipeline: Any, _step: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tensors["latents"])
        return tensors

    only: dict[str, object] = {"negative_prompt": request.negative_prompt or None}
    if request.checkpoint.family == "flux":
        only = {"max_sequence_length": 256 if "schnell" in request.checkpoint.name else 512}
    image = pipeline(
        prompt=request.prompt,
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.seeds[0]),
        callback_on_step_end=remember,
        **only,
    ).images[0]
    return Rendered(_unpacked(request, seen[-1]), np.asarray(image).astype(np.int16))


def _unpacked(request: ImageRequest, latents: Tensor) -> Tensor:
    """Flux's pipeline keeps 2 x 2 latent pixels as one token."""
    if request.checkpoint.family != "flux":
        return latents
    height, width = request.height // 16, request.width // 16
    patches = latents.view(1, height, width, -1, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(1, -1, 2 * height, 2 * width)
