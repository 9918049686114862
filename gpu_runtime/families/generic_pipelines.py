"""The diffusers pipelines that may be made from a checkpoint's model_index.json, and how each is called.

A closed list: no class outside it is ever looked up by a name that comes with a checkpoint. Not in it are
pipelines without a callback for every step (LongCat-Image, IF), those with parts that are program code of the
repository's own (Kolors), those whose prior runs inside the call
without one (Kandinsky 2, Wuerstchen, Stable Cascade) and those whose processors need torchvision, which stays
out of the appliance (OmniGen, Qwen-Image 2.1, GLM-Image, Kandinsky 5, Nucleus, BRIA Fibo 2, DreamLite).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpu_runtime.messages import ImageRequest

Arguments = dict[str, Any]
"""Keyword arguments of a pipeline's call. Any: each pipeline has its own."""


def _nothing(request: ImageRequest) -> Arguments:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """How requests become calls of one pipeline class."""

    family: str
    guidance: str | None = "guidance_scale"
    """Argument of the guidance scale, None where the pipeline has none."""
    has_negative: bool = True
    """Whether it takes a negative prompt."""
    empty_negative: str = ""
    """What stands for a negative prompt of no characters."""
    has_old_callback: bool = False
    """Whether the callback is `callback(step, timestep, latents)`, as before `callback_on_step_end`."""
    is_signed: bool = False
    """Whether images come as -1 to 1 instead of 0 to 1 when asked for as tensors."""
    package: str | None = None
    """A Python package it cannot do without."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that are the same for every request."""
    further: Callable[[ImageRequest], Arguments] = _nothing
    """Arguments that depend on the request in ways of the pipeline's own."""


EXACT_SIZE = {"use_resolution_binning": False}
"""Denoise at the size that was asked for; these pipelines otherwise pick one of their own and resize."""

PLAIN_CAPTION = {"clean_caption": False}
"""Leave the prompt as it is; cleaning needs packages the appliance does without."""


def _sprint_timesteps(request: ImageRequest) -> Arguments:
    """The intermediate timestep goes with two steps and is refused with any other number."""
    return {} if request.steps == 2 else {"intermediate_timesteps": None}


PIPELINES: Mapping[str, PipelineSpec] = {
    "PixArtAlphaPipeline": PipelineSpec(
        family="pixart", has_old_callback=True, fixed=EXACT_SIZE | PLAIN_CAPTION
    ),
    "PixArtSigmaPipeline": PipelineSpec(
        family="pixart", has_old_callback=True, fixed=EXACT_SIZE | PLAIN_CAPTION
    ),
    "SanaPipeline": PipelineSpec(family="sana", fixed=EXACT_SIZE | PLAIN_CAPTION),
    "SanaSprintPipeline": PipelineSpec(
        family="sana", has_negative=False, fixed=EXACT_SIZE | PLAIN_CAPTION, further=_sprint_timesteps
    ),
    "LuminaPipeline": PipelineSpec(family="lumina", fixed=PLAIN_CAPTION),
    "Lumina2Pipeline": PipelineSpec(family="lumina2"),
    "HunyuanDiTPipeline": PipelineSpec(family="hunyuan-dit", fixed=EXACT_SIZE),
    "AuraFlowPipeline": PipelineSpec(family="auraflow"),
    "CogView3PlusPipeline": PipelineSpec(family="cogview3"),
    "CogView4Pipeline": PipelineSpec(family="cogview4"),
    "ChromaPipeline": PipelineSpec(family="chroma"),
    "Flux2Pipeline": PipelineSpec(family="flux2", has_negative=False),
    "Flux2KleinPipeline": PipelineSpec(family="flux2", has_negative=False),
    "QwenImagePipeline": PipelineSpec(family="qwen-image", guidance="true_cfg_scale", empty_negative=" "),
    "ZImagePipeline": PipelineSpec(family="z-image"),
    "Kandinsky3Pipeline": PipelineSpec(family="kandinsky3", is_signed=True),
    "PRXPipeline": PipelineSpec(family="prx", package="ftfy", fixed=EXACT_SIZE),
    "OvisImagePipeline": PipelineSpec(family="ovis-image"),
    "HiDreamImagePipeline": PipelineSpec(family="hidream"),
    "HunyuanImagePipeline": PipelineSpec(family="hunyuan-image", guidance="distilled_guidance_scale"),
    "BriaPipeline": PipelineSpec(family="bria"),
    "ErnieImagePipeline": PipelineSpec(family="ernie-image", fixed={"use_pe": False}),
    "Krea2Pipeline": PipelineSpec(family="krea2"),
}
"""By class name in diffusers."""

RENAMED = {"LuminaText2ImgPipeline": "LuminaPipeline", "Lumina2Text2ImgPipeline": "Lumina2Pipeline"}
"""Names in older model_index.json files."""

STATEFUL = ("scheduler", "guider", "ocr_guider")
"""Components that remember where an image is: every image gets its own."""


def call_arguments(spec: PipelineSpec, request: ImageRequest) -> Arguments:
    """The arguments of one image's call, without generator and callback."""
    arguments: Arguments = {
        "prompt": request.prompt,
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.steps,
        "output_type": "pt",
        **spec.fixed,
        **spec.further(request),
    }
    if spec.guidance:
        arguments[spec.guidance] = request.guidance_scale
    if spec.has_negative:
        arguments["negative_prompt"] = request.negative_prompt or spec.empty_negative
    return arguments
