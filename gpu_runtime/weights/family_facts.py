"""What is true of every checkpoint of a family: sizes, defaults, samplers. New entries start from it.

One row a family. `pipeline_classes` are the diffusers classes whose model_index.json means this family.
Families outside STEP_BATCHED run through `gpu_runtime/families/generic.py`. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpu_runtime.messages import ImageRequest, Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import ANY_SCHEDULE, OWN_LEVELS
from gpu_runtime.weights.generic_families import GENERIC_FAMILIES, GenericFamily

NOISE_SAMPLERS = tuple(Sampler)
"""Families trained to predict noise or velocity on a variance-preserving schedule take every sampler."""

FLOW_SAMPLERS = (Sampler.EULER, Sampler.HEUN, Sampler.DPMPP_2M, Sampler.UNIPC)
"""Rectified-flow families: the samplers diffusers configures with flow sigmas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFacts:
    """Where a variant differs from its family."""

    steps: int
    guidance_scale: float
    sampler: Sampler = Sampler.EULER


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyFacts:
    """One base-model architecture."""

    family: str
    title: str
    pipeline_classes: tuple[str, ...]
    native_px: int
    """Side of the images it was trained on."""
    max_native_side_px: int
    """Longest side it is asked to denoise; larger images are denoised smaller and enlarged."""
    steps: int
    guidance_scale: float
    sampler: Sampler
    samplers: tuple[Sampler, ...] = NOISE_SAMPLERS
    schedules: frozenset[SigmaSchedule] = ANY_SCHEDULE
    lora_targets: tuple[str, ...] = ()
    """Families whose LoRAs fit this one; always includes itself when LoRAs are supported."""
    control_classes: tuple[str, ...] = ()
    """Classes of ControlNets, as their config.json names them, that checkpoints of the family take."""
    vae_targets: tuple[str, ...] = ()
    """Families whose autoencoders fit this one besides its own."""
    side_multiple_px: int = 8
    has_unconditional_rows: bool = True
    """Whether `guidance_scale` above 1 brings a second forward row; not where it is an input of the network,
    and then `true_guidance_scale` does."""
    variants: Mapping[str, VariantFacts] | None = None


_TURBO = VariantFacts(steps=4, guidance_scale=1.0, sampler=Sampler.EULER_A)
_LIGHTNING = VariantFacts(steps=4, guidance_scale=1.0, sampler=Sampler.EULER)

_ROWS = (
    FamilyFacts(
        family="sd15",
        title="Stable Diffusion 1.x",
        pipeline_classes=("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"),
        native_px=512,
        max_native_side_px=1024,
        steps=25,
        guidance_scale=7.5,
        sampler=Sampler.DPMPP_2M,
        lora_targets=("sd15",),
        control_classes=("ControlNetModel",),
        variants={"lcm": VariantFacts(steps=6, guidance_scale=1.5, sampler=Sampler.LCM)},
    ),
    FamilyFacts(
        family="sd2",
        title="Stable Diffusion 2.x",
        pipeline_classes=(),  # told from sd15 by the text encoder's width
        native_px=768,
        max_native_side_px=1024,
        steps=25,
        guidance_scale=7.5,
        sampler=Sampler.DPMPP_2M,
        lora_targets=("sd2",),
        control_classes=("ControlNetModel",),
        vae_targets=("sd15",),
        variants={"turbo": _TURBO},
    ),
    FamilyFacts(
        family="sdxl",
        title="Stable Diffusion XL",
        pipeline_classes=(
            "StableDiffusionXLPipeline",
            "StableDiffusionXLImg2ImgPipeline",
            "StableDiffusionXLInpaintPipeline",
        ),
        native_px=1024,
        max_native_side_px=1536,
        steps=30,
        guidance_scale=6.0,
        sampler=Sampler.DPMPP_2M,
        lora_targets=("sdxl",),
        control_classes=("ControlNetModel", "ControlNetUnionModel"),
        variants={"turbo": _TURBO, "lightning": _LIGHTNING},
    ),
    FamilyFacts(
        family="sd3",
        title="Stable Diffusion 3 and 3.5",
        pipeline_classes=("StableDiffusion3Pipeline",),
        native_px=1024,
        max_native_side_px=1440,
        steps=28,
        guidance_scale=4.5,
        sampler=Sampler.EULER,
        samplers=FLOW_SAMPLERS,
        schedules=OWN_LEVELS,
        lora_targets=("sd3",),
        control_classes=("SD3ControlNetModel",),
        side_multiple_px=16,
        variants={"turbo": VariantFacts(steps=4, guidance_scale=1.0)},
    ),
    FamilyFacts(
        family="flux",
        title="FLUX.1",
        pipeline_classes=("FluxPipeline", "FluxKontextPipeline", "FluxFillPipeline", "FluxControlPipeline"),
        native_px=1024,
        max_native_side_px=2048,
        steps=28,
        guidance_scale=3.5,
        sampler=Sampler.EULER,
        samplers=FLOW_SAMPLERS,
        schedules=OWN_LEVELS,
        lora_targets=("flux",),
        control_classes=("FluxControlNetModel",),
        side_multiple_px=16,
        has_unconditional_rows=False,
        variants={"schnell": VariantFacts(steps=4, guidance_scale=0.0)},
    ),
)

UNETS = frozenset({"sd15", "sd2", "sdxl"})
"""Those of STEP_BATCHED whose denoiser is one, and not a transformer."""

STEP_BATCHED = frozenset({"sd15", "sd2", "sdxl", "sd3", "flux"})
"""Families whose requests share denoising steps."""


def _without_sharing(row: GenericFamily) -> FamilyFacts:
    """Facts of a family that runs through diffusers' own pipeline, with the checkpoint's own sampler."""
    variants = {
        name: VariantFacts(steps=steps, guidance_scale=scale, sampler=row.sampler)
        for name, (steps, scale) in row.variants.items()
    }
    return FamilyFacts(
        family=row.family,
        title=row.title,
        pipeline_classes=row.pipeline_classes,
        native_px=row.native_px,
        max_native_side_px=row.max_native_side_px,
        steps=row.steps,
        guidance_scale=row.guidance_scale,
        sampler=row.sampler,
        samplers=(row.sampler,),
        schedules=OWN_LEVELS,
        side_multiple_px=row.side_multiple_px,
        variants=variants or None,
    )


FAMILY_FACTS: Mapping[str, FamilyFacts] = {
    row.family: row for row in (*_ROWS, *(_without_sharing(row) for row in GENERIC_FAMILIES))
}


NEEDS_MORE_THAN_A_PROMPT: Mapping[str, str] = {
    "inpaint": "an image and a mask",
    "fill": "an image and a mask",
    "pix2pix": "an image to edit",
    "edit": "a picture to edit",
    "control": "a control image",
    "depth": "a depth image",
    "canny": "an edge image",
    "refiner": "an image of another model to refine",
    "upscaler": "an image to enlarge",
}
"""Variants that make no image from a prompt alone, and what they take."""


def facts_of(family: str) -> FamilyFacts | None:
    """The row of a family, None for an unknown one."""
    return FAMILY_FACTS.get(family)


def forward_rows(request: ImageRequest) -> int:
    """Denoiser rows that one image of this request brings: two when guided by an unconditional row."""
    facts = facts_of(request.checkpoint.family)
    is_by_rows = facts is None or facts.has_unconditional_rows
    scale = request.guidance_scale if is_by_rows else request.true_guidance_scale
    return 2 if scale > 1 else 1


def steps_from_picture(family: str, steps: int, strength: float) -> int:
    """Steps that are done of `steps` when an image begins from a picture; 0 where none is left.

    Pipelines of rectified flows round the steps left out down, those of Stable Diffusion the steps done.
    """
    exact = steps * strength
    facts = facts_of(family)
    is_flow = facts is not None and facts.samplers == FLOW_SAMPLERS
    return steps - int(steps - exact) if is_flow else int(exact)
