"""What a checkpoint makes of a request: its defaults, and whether it can serve the request at all."""

from __future__ import annotations

from typing import Final

from apps.catalog.models import CatalogEntry
from apps.core.errors import InvalidField
from apps.generation.checkpoint_defaults import CheckpointDefaults
from apps.generation.choices import Kind
from apps.generation.request import MAX_REFERENCES, GenerationRequest
from apps.generation.sizes import SIDE_MULTIPLE_PX
from gpu_runtime.batching.admission import READ_BY_CLIP
from gpu_runtime.families.generic_pipelines import PIPELINES
from gpu_runtime.messages import Sampler
from gpu_runtime.sampler_facts import ANY_SCHEDULE, read_name
from gpu_runtime.weights.family_facts import NEEDS_MORE_THAN_A_PROMPT, STEP_BATCHED, facts_of

WITH_MASK: Final = frozenset({"inpaint", "fill"})
"""Variants whose network takes the picture and the mask as further input."""
WITH_PICTURE: Final = frozenset({"refiner"})
EDITING: Final = frozenset({"edit", "kontext"})
KONTEXT: Final = "kontext"


def checkpoint_defaults(checkpoint: CatalogEntry) -> CheckpointDefaults:
    """The catalogue's row as the request modules understand it."""
    defaults, facts = checkpoint.defaults, facts_of(checkpoint.family)
    sampler, schedule = read_name(defaults["sampler"])
    return CheckpointDefaults(
        native_px=checkpoint.native_px,
        min_side_px=checkpoint.min_side_px,
        max_side_px=checkpoint.max_side_px,
        max_native_side_px=checkpoint.max_native_side_px,
        steps=int(defaults["steps"]),
        guidance_scale=float(defaults["guidance_scale"]),
        sampler=sampler,
        schedule=schedule,
        negative_prompt=str(defaults.get("negative_prompt", "")),
        samplers=facts.samplers if facts else tuple(Sampler),
        schedules=facts.schedules if facts else ANY_SCHEDULE,
        side_multiple_px=facts.side_multiple_px if facts else SIDE_MULTIPLE_PX,
        family=checkpoint.family,
    )


def require_able(checkpoint: CatalogEntry, request: GenerationRequest) -> None:
    """Raises InvalidField for what the checkpoint lacks, or takes and the request does not bring.

    Refused here and not by the worker, which would have to load the weights to see it.
    """
    if request.kind is Kind.EDIT:
        _require_editing(checkpoint, request)
    else:
        _require_input(checkpoint, request)
    _require_guidance(checkpoint, request)


def _require_input(checkpoint: CatalogEntry, request: GenerationRequest) -> None:
    variant = checkpoint.variant
    needed = NEEDS_MORE_THAN_A_PROMPT.get(variant)
    has_picture = request.image is not None
    has_mask = has_picture and (request.mask is not None or request.expand is not None)
    if needed is None or (variant in WITH_MASK and has_mask) or (variant in WITH_PICTURE and has_picture):
        return
    if request.kind is Kind.TXT2IMG or variant in WITH_MASK | WITH_PICTURE | EDITING:
        problem = f"{checkpoint.name} makes no image from a prompt alone: it needs {needed}"
    else:
        problem = f"{checkpoint.name} needs {needed} as an input of its network, which is not supported here"
    raise InvalidField(field="checkpoint", problem=problem)


def _require_editing(checkpoint: CatalogEntry, request: GenerationRequest) -> None:
    most = most_references(checkpoint)
    if not most:
        problem = (
            f"{checkpoint.name} does not edit pictures: choose a model made for it, such as FLUX.1 Kontext,"
            " or ask for image to image"
        )
        raise InvalidField(field="checkpoint", problem=problem)
    asked = len(request.references) + (request.image is not None)
    if asked > most:
        problem = f"must be at most {most} for model {checkpoint.name}, not {asked}"
        raise InvalidField(field="references", problem=problem)


def most_references(checkpoint: CatalogEntry) -> int:
    """How many pictures it edits from at once; 0 for one that does not edit."""
    if checkpoint.family in STEP_BATCHED:
        return MAX_REFERENCES if checkpoint.variant == KONTEXT else 0
    spec = PIPELINES.get(str(checkpoint.details.get("pipeline_class", "")))
    return spec.most_references if spec is not None else 0


def _require_guidance(checkpoint: CatalogEntry, request: GenerationRequest) -> None:
    facts = facts_of(checkpoint.family)
    scale = request.true_guidance_scale
    if scale is not None and scale > 1 and (facts is None or facts.has_unconditional_rows):
        problem = f"is for models that embed guidance_scale, as FLUX.1 does; {checkpoint.name} does not"
        raise InvalidField(field="true_guidance_scale", problem=problem)
    if request.clip_skip and checkpoint.family not in READ_BY_CLIP:
        problem = f"is for models that read prompts by CLIP; {checkpoint.name} does not"
        raise InvalidField(field="clip_skip", problem=problem)
