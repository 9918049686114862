"""Plain diffusers pipelines with adapters loaded through peft, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DiffusionPipeline

from gpu_runtime.messages import CheckpointRef, ImageRequest, Sampler
from gpu_runtime.samplers import SAMPLERS
from tests.gpu_runtime.plain_pipelines import run_plainly, size_of
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
    only: dict[str, object] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt or None,
    }
    if request.checkpoint.family == "flux":
        only = {
            "prompt": request.prompt,
            "max_sequence_length": 256 if "schnell" in request.checkpoint.name else 512,
        }
    return run_plainly(pipeline, request, **{**size_of(request), **only, **given})
