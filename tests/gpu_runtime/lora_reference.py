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


def load_loras(pipeline: Any, files: Sequence[Path]) -> None:
    """What a user of diffusers does with several adapters; `use_loras` says which take part."""
    for position, file in enumerate(files):
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=f"a{position}")


def use_loras(pipeline: Any, strengths: Sequence[float]) -> None:
    """The strengths of the first loaded files; those at 0 and the rest take no part."""
    chosen = {f"a{position}": strength for position, strength in enumerate(strengths) if strength}
    if not chosen:
        pipeline.disable_lora()
        return
    pipeline.enable_lora()
    pipeline.set_adapters(list(chosen), list(chosen.values()))


def render_plainly(pipeline: Any, request: ImageRequest, **given: Any) -> Rendered:
    """The request's first image; `given` goes to the pipeline in place of what the request says."""
    seen: list[Tensor] = []

    def remember(_pipeline: Any, _step: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tensors["latents"])
        return tensors

    only: dict[str, object] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt or None,
    }
    if request.checkpoint.family == "flux":
        only = {
            "prompt": request.prompt,
            "max_sequence_length": 256 if "schnell" in request.checkpoint.name else 512,
        }
    image = pipeline(
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.seeds[0]),
        callback_on_step_end=remember,
        **{**only, **given},
    ).images[0]
    return Rendered(_unpacked(request, seen[-1]), np.asarray(image).astype(np.int16))


def _unpacked(request: ImageRequest, latents: Tensor) -> Tensor:
    """Flux's pipeline keeps 2 x 2 latent pixels as one token."""
    if request.checkpoint.family != "flux":
        return latents
    height, width = request.height // 16, request.width // 16
    patches = latents.view(1, height, width, -1, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(1, -1, 2 * height, 2 * width)
