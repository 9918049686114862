"""Whether a request can run here at all, decided before anything is loaded or allocated.

The Django side has validated units and plan limits already. This is the runtime's own line of defence:
everything that would make a tensor operation fail, hang or exhaust memory is refused here with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gpu_runtime.batching.limits import Limits, Rule
from gpu_runtime.batching.pass_rules import PASS_RULES
from gpu_runtime.batching.picture_rules import PICTURE_RULES
from gpu_runtime.messages import ImageRequest, Priority, PromptStyle, Sampler, SigmaSchedule, Tier
from gpu_runtime.weights.family_facts import STEP_BATCHED, facts_of

MAX_SEED = 2**32 - 1

READ_BY_CLIP = frozenset({"sd15", "sd2", "sdxl", "sd3"})
"""Families that take all tokens of a CLIP text encoder; FLUX takes only its summary of the prompt."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request can run."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request can never run here."""

    reason: str
    """One sentence for logs and operators."""


Decision = Admitted | Rejected


def admit(request: ImageRequest, limits: Limits) -> Decision:
    """Decide on one request; the first rule that objects gives the reason."""
    for rule in RULES:
        reason = rule(request, limits)
        if reason:
            return Rejected(reason)
    return Admitted()


def _refuse_family(request: ImageRequest, limits: Limits) -> str:
    family = request.checkpoint.family
    if limits.families is None or family in limits.families:
        return ""
    known = ", ".join(sorted(limits.families))
    return f"family {family!r} has no step-batched pipeline here; known families: {known}"


def _refuse_sides(request: ImageRequest, limits: Limits) -> str:
    for name, side in (("width", request.width), ("height", request.height)):
        if side % 8:
            return f"{name} must be a multiple of 8, not {side}"
        if not limits.min_side_px <= side <= limits.max_side_px:
            return f"{name} must be {limits.min_side_px} to {limits.max_side_px} pixels, not {side}"
    return ""


def _refuse_output_sides(request: ImageRequest, limits: Limits) -> str:
    for name, side in (("output_width", request.output_width), ("output_height", request.output_height)):
        if not 1 <= side <= limits.max_output_side_px:
            return f"{name} must be 1 to {limits.max_output_side_px} pixels, not {side}"
    return ""


def _refuse_steps(request: ImageRequest, limits: Limits) -> str:
    most = limits.max_steps.get(request.sampler, limits.max_steps_default)
    if 1 <= request.steps <= most:
        return ""
    return f"sampler {request.sampler.value} takes 1 to {most} steps, not {request.steps}"


def _refuse_guidance(request: ImageRequest, limits: Limits) -> str:
    if math.isfinite(request.guidance_scale):
        return ""
    return f"guidance_scale must be a finite number, not {request.guidance_scale}"


def _refuse_seeds(request: ImageRequest, limits: Limits) -> str:
    if not 1 <= len(request.seeds) <= limits.max_images:
        return f"a request has 1 to {limits.max_images} images, not {len(request.seeds)}"
    for seed in request.seeds:
        if not 0 <= seed <= MAX_SEED:
            return f"a seed must be 0 to {MAX_SEED}, not {seed}"
    return ""


def _refuse_variation(request: ImageRequest, limits: Limits) -> str:
    variation, family = request.variation, request.checkpoint.family
    if variation is None:
        return ""
    if family not in STEP_BATCHED:
        return f"variations of a seed are not supported for family {family!r}"
    if len(variation.seeds) != len(request.seeds):
        return f"a variation has {len(request.seeds)} seeds, one an image, not {len(variation.seeds)}"
    if not all(0 <= seed <= MAX_SEED for seed in variation.seeds):
        return f"a seed of a variation must be 0 to {MAX_SEED}"
    if not 0 <= variation.strength <= 1:
        return f"the strength of a variation must be 0 to 1, not {variation.strength:g}"
    for side in variation.size or ():
        if not limits.min_side_px <= side <= limits.max_side_px:
            return f"noise is drawn for {limits.min_side_px} to {limits.max_side_px} pixels, not {side}"
    return ""


def _refuse_prompts(request: ImageRequest, limits: Limits) -> str:
    for name, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt)):
        if len(text) > limits.max_prompt_chars:
            return f"{name} must have at most {limits.max_prompt_chars} characters, not {len(text)}"
    return ""


def _refuse_clip_skip(request: ImageRequest, limits: Limits) -> str:
    family, layers = request.checkpoint.family, request.clip_skip
    if not 0 <= layers <= limits.max_clip_skip:
        return f"clip_skip must be 0 to {limits.max_clip_skip}, not {layers}"
    if layers and family not in READ_BY_CLIP:
        return f"clip_skip is for families that read prompts by CLIP, and {family} does not"
    return ""


def _refuse_true_guidance(request: ImageRequest, limits: Limits) -> str:
    family, scale, most = (
        request.checkpoint.family,
        request.true_guidance_scale,
        limits.max_true_guidance_scale,
    )
    if not 1 <= scale <= most:
        return f"true_guidance_scale must be 1 to {most:g}, not {scale:g}"
    facts = facts_of(family)
    is_input = facts is not None and not facts.has_unconditional_rows
    if scale > 1 and not is_input:
        return (
            f"true_guidance_scale is for families that take guidance_scale as an input, and {family} does not"
        )
    return ""


def _refuse_deadline(request: ImageRequest, limits: Limits) -> str:
    deadline_s = request.deadline_s
    if deadline_s is None or (math.isfinite(deadline_s) and deadline_s > 0):
        return ""
    return f"deadline_s must be a finite number above 0, not {deadline_s:g}"


def _refuse_weight(request: ImageRequest, limits: Limits) -> str:
    if math.isfinite(request.weight) and request.weight > 0:
        return ""
    return f"weight must be a finite number above 0, not {request.weight}"


def _refuse_loras(request: ImageRequest, limits: Limits) -> str:
    loras = request.loras
    if not loras:
        return ""
    facts = facts_of(request.checkpoint.family)
    if facts is None or not facts.lora_targets:
        return f"LoRAs are not supported for family {request.checkpoint.family!r}"
    if len(loras) > limits.max_loras:
        return f"a request has at most {limits.max_loras} LoRAs, not {len(loras)}"
    if len({lora.digest for lora in loras}) < len(loras):
        return "a LoRA may be named once a request"
    for lora in loras:
        if not abs(lora.scale) <= limits.max_lora_scale:
            most = limits.max_lora_scale
            return f"the scale of LoRA {lora.name!r} must be {-most:g} to {most:g}, not {lora.scale}"
    return ""


def _refuse_embeddings(request: ImageRequest, limits: Limits) -> str:
    embeddings = request.embeddings
    if not embeddings:
        return ""
    if request.checkpoint.family not in STEP_BATCHED:
        return f"embeddings are not supported for family {request.checkpoint.family!r}"
    if len(embeddings) > limits.max_embeddings:
        return f"a request has at most {limits.max_embeddings} embeddings, not {len(embeddings)}"
    tokens = [embedding.token for embedding in embeddings]
    if not all(token.strip() for token in tokens) or len(set(tokens)) < len(tokens):
        return "every embedding needs a word of its own"
    return ""


def _refuse_words(request: ImageRequest, limits: Limits) -> str:
    """A message made from outside may carry any text where a known word belongs."""
    for name, known in WORDS.items():
        if not isinstance(getattr(request, name), known):
            words = ", ".join(str(word.value) for word in known)
            return f"{name} must be one of {words}, not {getattr(request, name)!r}"
    return ""


WORDS: Mapping[str, type[Enum]] = {
    "sampler": Sampler,
    "schedule": SigmaSchedule,
    "prompt_style": PromptStyle,
    "tier": Tier,
    "priority": Priority,
}
"""Fields with a closed set of values."""

RULES: tuple[Rule, ...] = (
    _refuse_words,
    _refuse_family,
    _refuse_sides,
    _refuse_output_sides,
    _refuse_steps,
    _refuse_guidance,
    _refuse_true_guidance,
    _refuse_clip_skip,
    _refuse_seeds,
    _refuse_variation,
    _refuse_prompts,
    _refuse_weight,
    _refuse_deadline,
    _refuse_loras,
    _refuse_embeddings,
    *PICTURE_RULES,
    *PASS_RULES,
)
