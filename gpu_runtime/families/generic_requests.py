"""What requests may ask of the families that run through diffusers' own pipelines. No torch here."""

from __future__ import annotations

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.generic_pipelines import PipelineSpec
from gpu_runtime.messages import ImageRequest, PromptStyle
from gpu_runtime.prompts.weighting import plain_text, sections_of
from gpu_runtime.weights.family_facts import FAMILY_FACTS


def require_possible(spec: PipelineSpec, request: ImageRequest) -> None:
    """Raises UnsupportedCombination, naming the field, for what these pipelines cannot do."""
    facts = FAMILY_FACTS[spec.family]
    absent = {
        "LoRAs": bool(request.loras),
        "embeddings": bool(request.embeddings),
        "other autoencoder than its own": request.vae is not None,
        "ControlNets": bool(request.controls),
        "IP-adapters": bool(request.ip_adapters),
        "refiner": request.refiner is not None,
        "second pass for high resolution": request.hires is not None,
        "clip skip": request.clip_skip > 0,
        "second guidance scale": request.true_guidance_scale > 1,
    }
    for what, is_asked in absent.items():
        if is_asked:
            raise UnsupportedCombination(f"{facts.title} takes no {what} here")
    _require_pictures(spec, request, facts.title)
    multiple = facts.side_multiple_px
    if request.width % multiple or request.height % multiple:
        sides = f"{request.width} x {request.height}"
        raise UnsupportedCombination(
            f"sides for {facts.title} must be multiples of {multiple} pixels, not {sides}"
        )
    for prompt in (request.prompt, request.negative_prompt):
        read(prompt, request.prompt_style, facts.title)


def read(prompt: str, style: PromptStyle, title: str) -> str:
    """The prompt without marks of weights. Raises UnsupportedCombination for weights other than 1."""
    text, weights = plain_text(sections_of(prompt, style))
    if any(weight != 1.0 for weight in weights):
        raise UnsupportedCombination(
            f"{title} takes no weights in prompts: ask for prompts to be read as plain"
        )
    return text


def _require_pictures(spec: PipelineSpec, request: ImageRequest, title: str) -> None:
    if request.mask is not None and request.image is None:
        raise UnsupportedCombination("a mask says what of an image to change, and there is no image")
    if request.image is not None and request.mask is None and spec.from_image is None:
        raise UnsupportedCombination(f"{title} begins from no image: leave out the init image")
    if request.mask is not None and spec.within_mask is None:
        raise UnsupportedCombination(f"{title} takes no mask here")
    if len(request.references) > spec.most_references:
        raise UnsupportedCombination(f"{title} takes {_number(spec.most_references)} here")
    if request.references and request.image is not None:
        raise UnsupportedCombination(f"{title} takes an init image or reference pictures, not both")
    if spec.needs_reference and not request.references:
        raise UnsupportedCombination(f"{title} edits pictures: give it at least one reference picture")
    if request.image is not None and int(request.steps * request.strength) < 1:
        raise UnsupportedCombination(
            f"a strength of {request.strength} leaves none of {request.steps} steps to do: raise either"
        )


def _number(most: int) -> str:
    if most == 0:
        return "no reference pictures"
    return "one reference picture" if most == 1 else f"at most {most} reference pictures"
