"""The diffusers pipelines that may be made from a checkpoint's model_index.json, and how each is called.

A closed list: no class outside it is ever looked up by a name that comes with a checkpoint. Why other
pipelines of diffusers are not in it: `gpu_runtime/weights/refused_pipelines.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from gpu_runtime.messages import ImageRequest

Arguments = dict[str, Any]
"""Keyword arguments of a pipeline's call. Any: each pipeline has its own."""


def _nothing(request: ImageRequest) -> Arguments:
    return {}


class Watch(StrEnum):
    """Where control is taken between two steps."""

    CALLBACK = "callback"
    """The pipeline's `callback_on_step_end`."""
    OLD_CALLBACK = "old callback"
    """The pipeline's `callback(step, timestep, latents)`, as before the other."""
    SCHEDULER = "scheduler"
    """The noise schedulers: pipelines without a callback, or made of stages of which one has none."""


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
    has_size: bool = True
    """Whether it takes a size; others make one size, which is scaled to what was asked for."""
    steps: str | None = "num_inference_steps"
    """Argument of the number of steps, None where `further` gives it."""
    watch: Watch = Watch.CALLBACK
    """How the steps of a call are seen."""
    lead: int = 0
    """Turns of a stage before the one whose steps a request counts."""
    output: str = "pt"
    """Form in which images are asked for: tensors, or arrays where a pipeline makes no tensors."""
    is_signed: bool = False
    """Whether images of texts come as -1 to 1 instead of 0 to 1 when asked for as tensors."""
    from_image: str | None = None
    """Pipeline of diffusers over the same components that begins from an image."""
    within_mask: str | None = None
    """Likewise, one that changes what a mask shows."""
    most_references: int = 0
    """Reference pictures that its argument `image` takes."""
    references_in_bfloat16: bool = False
    """Whether it reads them in that precision whatever its networks have, which must be the same."""
    needs_reference: bool = False
    """Whether it makes nothing without one."""
    one_step_by: frozenset[str] | None = None
    """Noise schedulers with which it makes an image in a single step, None for any."""
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


PRIOR_STEPS = 25


def _sprint_timesteps(request: ImageRequest) -> Arguments:
    """The intermediate timestep goes with two steps and is refused with any other number."""
    return {} if request.steps == 2 else {"intermediate_timesteps": None}


def _fibo2_negative(request: ImageRequest) -> Arguments:
    """Without a negative prompt it has a caption of its own to keep away from, which an empty text hides."""
    return {"negative_prompt": request.negative_prompt or None}


def _karlo_steps(request: ImageRequest) -> Arguments:
    """Its noise scheduler divides by the number of steps less one."""
    return {"decoder_num_inference_steps": max(2, request.steps)}


KANDINSKY2 = PipelineSpec(
    family="kandinsky2",
    watch=Watch.SCHEDULER,
    lead=PRIOR_STEPS,
    is_signed=True,
    fixed={"prior_num_inference_steps": PRIOR_STEPS},
)
"""The prior makes an image's embedding in a fixed number of steps before those of the request."""

CASCADE = PipelineSpec(
    family="stable-cascade",
    watch=Watch.SCHEDULER,
    steps="prior_num_inference_steps",
    guidance="prior_guidance_scale",
    fixed={"num_inference_steps": 10},
)
"""The prior makes the picture, in small, and the decoder adds the details in a fixed number of steps."""

PIPELINES: Mapping[str, PipelineSpec] = {
    "PixArtAlphaPipeline": PipelineSpec(
        family="pixart",
        watch=Watch.OLD_CALLBACK,
        fixed=EXACT_SIZE | PLAIN_CAPTION,
        # A single step ends at the scheduler's guess of the image, which others do not give.
        one_step_by=frozenset({"DDPMScheduler", "LCMScheduler"}),
    ),
    "PixArtSigmaPipeline": PipelineSpec(
        family="pixart", watch=Watch.OLD_CALLBACK, fixed=EXACT_SIZE | PLAIN_CAPTION
    ),
    "SanaPipeline": PipelineSpec(family="sana", fixed=EXACT_SIZE | PLAIN_CAPTION),
    "SanaSprintPipeline": PipelineSpec(
        from_image="SanaSprintImg2ImgPipeline",
        family="sana",
        has_negative=False,
        fixed=EXACT_SIZE | PLAIN_CAPTION,
        further=_sprint_timesteps,
    ),
    "LuminaPipeline": PipelineSpec(family="lumina", fixed=PLAIN_CAPTION),
    "Lumina2Pipeline": PipelineSpec(family="lumina2"),
    "HunyuanDiTPipeline": PipelineSpec(family="hunyuan-dit", fixed=EXACT_SIZE),
    "AuraFlowPipeline": PipelineSpec(family="auraflow"),
    "CogView3PlusPipeline": PipelineSpec(family="cogview3"),
    "CogView4Pipeline": PipelineSpec(family="cogview4"),
    "ChromaPipeline": PipelineSpec(from_image="ChromaImg2ImgPipeline", family="chroma"),
    "Flux2Pipeline": PipelineSpec(most_references=10, family="flux2", has_negative=False),
    "Flux2KleinPipeline": PipelineSpec(
        within_mask="Flux2KleinInpaintPipeline", most_references=10, family="flux2", has_negative=False
    ),
    "Flux2KleinKVPipeline": PipelineSpec(
        most_references=10, family="flux2", guidance=None, has_negative=False
    ),
    "QwenImagePipeline": PipelineSpec(
        from_image="QwenImageImg2ImgPipeline",
        within_mask="QwenImageInpaintPipeline",
        family="qwen-image",
        guidance="true_cfg_scale",
        empty_negative=" ",
    ),
    "ZImagePipeline": PipelineSpec(
        from_image="ZImageImg2ImgPipeline", within_mask="ZImageInpaintPipeline", family="z-image"
    ),
    "Kandinsky3Pipeline": PipelineSpec(
        from_image="Kandinsky3Img2ImgPipeline", family="kandinsky3", is_signed=True
    ),
    "PRXPipeline": PipelineSpec(family="prx", package="ftfy", fixed=EXACT_SIZE),
    "OvisImagePipeline": PipelineSpec(family="ovis-image"),
    "HiDreamImagePipeline": PipelineSpec(family="hidream"),
    "HunyuanImagePipeline": PipelineSpec(family="hunyuan-image", guidance="distilled_guidance_scale"),
    "BriaPipeline": PipelineSpec(family="bria"),
    "ErnieImagePipeline": PipelineSpec(family="ernie-image", fixed={"use_pe": False}),
    "Krea2Pipeline": PipelineSpec(family="krea2"),
    "KolorsPipeline": PipelineSpec(from_image="KolorsImg2ImgPipeline", family="kolors"),
    "BriaFiboPipeline": PipelineSpec(family="fibo"),
    "BriaFibo2Pipeline": PipelineSpec(
        most_references=5, family="fibo2", has_negative=False, further=_fibo2_negative
    ),
    "Ideogram4Pipeline": PipelineSpec(
        family="ideogram4", has_negative=False, fixed={"guidance_schedule": None}
    ),
    "Kandinsky5T2IPipeline": PipelineSpec(family="kandinsky5"),
    "LongCatImagePipeline": PipelineSpec(
        family="longcat-image", watch=Watch.SCHEDULER, fixed={"enable_prompt_rewrite": False}
    ),
    "DreamLitePipeline": PipelineSpec(most_references=1, family="dreamlite", watch=Watch.SCHEDULER),
    "DreamLiteMobilePipeline": PipelineSpec(
        most_references=1, family="dreamlite", watch=Watch.SCHEDULER, guidance=None, has_negative=False
    ),
    "QwenImage21Pipeline": PipelineSpec(
        most_references=3, family="qwen-image-2.1", guidance="true_cfg_scale", empty_negative=" "
    ),
    "QwenImageEditPipeline": PipelineSpec(
        family="qwen-image",
        guidance="true_cfg_scale",
        empty_negative=" ",
        most_references=1,
        needs_reference=True,
    ),
    "QwenImageEditPlusPipeline": PipelineSpec(
        family="qwen-image",
        guidance="true_cfg_scale",
        empty_negative=" ",
        most_references=3,
        needs_reference=True,
    ),
    "LongCatImageEditPipeline": PipelineSpec(
        family="longcat-image",
        watch=Watch.SCHEDULER,
        has_size=False,
        most_references=1,
        needs_reference=True,
    ),
    "NucleusMoEImagePipeline": PipelineSpec(family="nucleus-image"),
    "PRXPixelPipeline": PipelineSpec(family="prx", package="ftfy", fixed=EXACT_SIZE),
    "ZImageOmniPipeline": PipelineSpec(most_references=5, references_in_bfloat16=True, family="z-image"),
    "KandinskyCombinedPipeline": replace(KANDINSKY2, from_image="KandinskyImg2ImgCombinedPipeline"),
    "KandinskyV22CombinedPipeline": replace(KANDINSKY2, from_image="KandinskyV22Img2ImgCombinedPipeline"),
    "StableCascadeCombinedPipeline": CASCADE,
    "WuerstchenCombinedPipeline": CASCADE,
    "IFPipeline": PipelineSpec(
        family="deepfloyd-if", watch=Watch.OLD_CALLBACK, is_signed=True, fixed=PLAIN_CAPTION
    ),
    "LDMTextToImagePipeline": PipelineSpec(
        family="latent-diffusion", watch=Watch.SCHEDULER, has_negative=False, is_signed=True
    ),
    "AltDiffusionPipeline": PipelineSpec(from_image="AltDiffusionImg2ImgPipeline", family="alt-diffusion"),
    "StableUnCLIPPipeline": PipelineSpec(
        family="stable-unclip",
        watch=Watch.SCHEDULER,
        lead=PRIOR_STEPS,
        fixed={"prior_num_inference_steps": PRIOR_STEPS},
    ),
    "UnCLIPPipeline": PipelineSpec(
        family="karlo",
        watch=Watch.SCHEDULER,
        lead=PRIOR_STEPS,
        has_size=False,
        has_negative=False,
        steps=None,
        guidance="decoder_guidance_scale",
        further=_karlo_steps,
        fixed={"prior_num_inference_steps": PRIOR_STEPS},
    ),
    "AmusedPipeline": PipelineSpec(
        from_image="AmusedImg2ImgPipeline",
        within_mask="AmusedInpaintPipeline",
        family="amused",
        watch=Watch.OLD_CALLBACK,
    ),
    "VQDiffusionPipeline": PipelineSpec(
        family="vq-diffusion", watch=Watch.OLD_CALLBACK, has_size=False, has_negative=False
    ),
    "StableDiffusionLDM3DPipeline": PipelineSpec(family="ldm3d", output="np"),
    "UniDiffuserPipeline": PipelineSpec(family="unidiffuser", watch=Watch.OLD_CALLBACK),
}
"""By class name in diffusers."""


def call_arguments(spec: PipelineSpec, request: ImageRequest) -> Arguments:
    """The arguments of one image's call, without generator and callback."""
    arguments: Arguments = {
        "prompt": request.prompt,
        "output_type": spec.output,
        **spec.fixed,
        **spec.further(request),
    }
    if spec.steps:
        arguments[spec.steps] = request.steps
    if spec.has_size:
        arguments |= {"width": request.width, "height": request.height}
    if spec.guidance:
        arguments[spec.guidance] = request.guidance_scale
    if spec.has_negative:
        arguments["negative_prompt"] = request.negative_prompt or spec.empty_negative
    return arguments
