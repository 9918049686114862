"""Which parts of a request each kind needs, and which have a meaning there: one row a kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from apps.core.errors import InvalidField
from apps.generation.choices import DENOISING_KINDS, Kind

# What every denoised image may have besides.
_DENOISED = frozenset({"controls", "ip_adapters", "loras", "embeddings", "vae", "clip_skip", "refiner"})
_DENOISED |= {"true_guidance_scale", "negative_prompt", "steps", "guidance_scale", "sampler", "schedule"}
_DENOISED |= {"width", "height", "aspect_ratio", "resize", "hires", "wants_previews"}
_DENOISED |= {"variation", "is_seamless"}
_FINISHED = frozenset({"upscale", "faces", "background", "safety"})
_FROM_PICTURE = _DENOISED | _FINISHED | {"strength"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRule:
    """What a request of one kind has; names are those of GenerationRequest."""

    needs: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset()
    """Besides what it needs and what every kind has."""


RULES: Final[Mapping[Kind, KindRule]] = {
    Kind.TXT2IMG: KindRule(needs=("prompt", "checkpoint"), takes=_DENOISED | _FINISHED),
    Kind.IMG2IMG: KindRule(needs=("prompt", "checkpoint", "image"), takes=_FROM_PICTURE | {"mix"}),
    Kind.INPAINT: KindRule(
        needs=("prompt", "checkpoint", "image", "mask"), takes=_FROM_PICTURE | {"mask_options"}
    ),
    Kind.OUTPAINT: KindRule(
        needs=("prompt", "checkpoint", "image", "expand"),
        takes=_FROM_PICTURE - {"width", "height", "aspect_ratio", "resize", "hires", "is_seamless"},
    ),
    Kind.CONTROLNET: KindRule(
        needs=("prompt", "checkpoint", "controls"), takes=_FROM_PICTURE | {"image", "mask", "mask_options"}
    ),
    Kind.EDIT: KindRule(
        needs=("prompt", "checkpoint"),
        takes=_DENOISED | _FINISHED | {"image", "references", "mask", "mask_options"},
    ),
    Kind.UPSCALE: KindRule(needs=("image", "upscale"), takes=_FINISHED),
    Kind.REMOVE_BACKGROUND: KindRule(needs=("image", "background"), takes=_FINISHED),
    Kind.OBJECT_REMOVAL: KindRule(needs=("image",), takes=_FINISHED | {"mask", "text", "mask_options"}),
    Kind.FACE_SWAP: KindRule(needs=("image", "face_swap"), takes=_FINISHED),
    Kind.DETECT: KindRule(needs=("image", "detect"), takes=frozenset({"mask"})),
    Kind.CAPTION: KindRule(needs=("image",), takes=frozenset({"text"})),
    Kind.MASK: KindRule(needs=("image", "text")),
    Kind.NSFW_CHECK: KindRule(takes=frozenset({"image"})),
}

OPTIONAL: Final = (
    "image",
    "mask",
    "references",
    "strength",
    "mix",
    "resize",
    "mask_options",
    "expand",
    "controls",
    "ip_adapters",
    "refiner",
    "hires",
    "upscale",
    "background",
    "face_swap",
    "faces",
    "variation",
    "is_seamless",
    "detect",
    "safety",
    "text",
    "loras",
    "embeddings",
    "vae",
    "clip_skip",
    "true_guidance_scale",
    "width",
    "height",
    "aspect_ratio",
)
"""Fields that are refused where they have no meaning. Of the others (steps, sampler, prompt ...) clients send
defaults with whatever they ask for, and mean nothing by it."""


class Asked(Protocol):
    """A request; Any, since its fields are looked up by name."""

    @property
    def kind(self) -> Kind: ...

    def __getattribute__(self, name: str, /) -> Any: ...


def require_fitting_parts(request: Asked) -> None:
    """Raises InvalidField for the first part that is missing, or that its kind has no use for."""
    rule = RULES[request.kind]
    for field in rule.needs:
        if not _is_given(request, field):
            raise InvalidField(field=field, problem="is required")
    for field in OPTIONAL:
        if _is_given(request, field) and field not in rule.takes and field not in rule.needs:
            raise InvalidField(field=field, problem=f"has no meaning for {request.kind.value}: leave it out")
    _require_together(request)


def _is_given(request: Asked, field: str) -> bool:
    """0 counts as given, a text of blanks and a flag that is not set do not."""
    value = getattr(request, field)
    if isinstance(value, bool):
        return value
    return bool(value.strip()) if isinstance(value, str) else value not in (None, ())


def _require_together(request: Asked) -> None:
    """Rules about two parts."""
    if request.num_images > 1 and request.kind not in DENOISING_KINDS:
        raise InvalidField(field="num_images", problem=f"must be 1 for {request.kind.value}")
    if request.kind is Kind.EDIT and request.image is None and not request.references:
        raise InvalidField(field="image", problem="is required")
    if request.kind is Kind.NSFW_CHECK and request.image is None and not _is_given(request, "prompt"):
        raise InvalidField(field="image", problem="is required, or a prompt to check")
    if request.kind is Kind.OBJECT_REMOVAL and request.mask is None and not _is_given(request, "text"):
        raise InvalidField(field="mask", problem="is required, or a text that names what is to go")
    if request.mask is not None and request.image is None and not request.references:
        raise InvalidField(field="mask", problem="needs an image whose part it marks")
    if request.mask_options is not None and request.mask is None:
        raise InvalidField(field="mask", problem="is required with options of a mask")
    if request.mask is not None and request.hires is not None:
        raise InvalidField(field="hires", problem="cannot be combined with a mask")
    if request.strength is not None and request.image is None:
        raise InvalidField(field="strength", problem="needs an image to begin from")
    _require_mixable(request)
    _require_alpha(request)


def _require_mixable(request: Asked) -> None:
    if request.mix is None:
        return
    if request.refiner is not None:
        raise InvalidField(field="refiner", problem="cannot be combined with mixing the image in")
    if request.strength is None:
        raise InvalidField(field="strength", problem="is required where the image is mixed in")
    if request.mix.until > request.strength:
        problem = f"must be at most the strength, {request.strength}, not {request.mix.until}"
        raise InvalidField(field="mix_until", problem=problem)


def _require_alpha(request: Asked) -> None:
    options = request.mask_options
    if options is not None and options.from_alpha and not request.mask.has_alpha:
        raise InvalidField(field="mask", problem="has no transparent parts to read the mask from")
    background = request.background
    is_opaque = request.output.media_type == "image/jpeg"
    if is_opaque and background is not None and background.is_transparent:
        raise InvalidField(
            field="output_media_type", problem="must not be image/jpeg for a transparent background: use PNG"
        )
