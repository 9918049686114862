"""From what a request of the OpenAI dialect says to our generation request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from apps.api.openai.errors import invalid
from apps.api.openai.fields import (
    EDITS,
    FROM_PICTURE,
    MEDIA_TYPES,
    THEIRS,
    TRANSPARENT,
    VARIATIONS,
    read_values,
)
from apps.api.openai.models import BASE64_NAMES
from apps.api.openai.qualities import QUALITIES, Quality
from apps.catalog.models import CatalogEntry
from apps.core.errors import InvalidField
from apps.generation.checkpoints import checkpoint_defaults, most_references
from apps.generation.choices import Kind, Replacement, Resize
from apps.generation.picture_sources import PictureSource
from apps.generation.pictures import Brought, take_pictures
from apps.generation.request import GenerationRequest
from apps.generation.sizes import MAX_SIDE_PX, Size, denoised_size
from apps.generation.wishes import (
    BackgroundWish,
    MaskWish,
    OutputWish,
    SafetyWish,
    StoredPicture,
    UpscaleWish,
)
from gpu_runtime.messages import Tier

T = TypeVar("T")

STYLES: Final[Mapping[str, str]] = {
    "vivid": "vivid colours, dramatic light, high contrast",
    "natural": "natural colours, soft light",
}
"""What a style adds to the prompt; answers tell as `revised_prompt`."""

MODERATION: Final[Mapping[str, SafetyWish]] = {
    "auto": SafetyWish(is_checked=True, replacement=Replacement.BLUR),
    "low": SafetyWish(),
}
"""What the caller asks for on top of the account's rule, which nobody can lower here."""

FAITHFUL_STRENGTH: Final = 0.5
"""Of an edit with `input_fidelity: high` by a checkpoint that begins from the picture."""
VARIATION_STRENGTH: Final = 0.6
VARIATION_PROMPT: Final = "a picture"
"""A variation has no prompt, and every checkpoint wants one: this says next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of this dialect, read: every value is of its kind and in range."""

    endpoint: str
    values: Mapping[str, object]

    def get(self, name: str, default: T) -> T:
        """The value under one of our names; its reader has made sure of the type."""
        return cast(T, self.values.get(name, default))

    @property
    def model(self) -> str:
        """As the caller wrote it; "" for none."""
        return self.get("checkpoint", "")

    @property
    def quality(self) -> Quality:
        return QUALITIES[self.get("quality", "auto")]

    @property
    def revised_prompt(self) -> str:
        """The prompt with its style; "" where nothing was added."""
        style = self.get("style", "")
        return f"{self.get('prompt', '')}, {STYLES[style]}" if style else ""

    @property
    def partial_images(self) -> int:
        return self.get("partial_images", 0) if self.is_streamed else 0

    @property
    def is_streamed(self) -> bool:
        return self.get("stream", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The pictures of a request, stored."""

    images: Sequence[StoredPicture] = ()
    mask: StoredPicture | None = None


def read_asked(fields: Mapping[str, object], endpoint: str) -> Asked:
    """Raises Refusal for the first field that is wrong."""
    asked = Asked(endpoint=endpoint, values=read_values(dict(fields), endpoint))
    compression = asked.get("output_quality", 100)
    if compression < 100 and asked.get("output_format", "png") == "png":
        problem = "output_compression below 100 is for jpeg and webp: set output_format, or leave it out."
        raise invalid("output_compression", problem)
    _require_no_form(asked)
    return asked


def _require_no_form(asked: Asked) -> None:
    """Raises Refusal where a model that always answers in base64 is asked for a form of answer."""
    if BASE64_NAMES.fullmatch(asked.model) and "response_format" in asked.values:
        name = "response_format"
        problem = (
            f"Unknown parameter: '{name}'. {asked.model} always answers in base64: leave the parameter out."
        )
        raise invalid(name, problem, code="unknown_parameter")


def take_asked(asked: Asked, *, now: datetime) -> Taken:
    """Store its pictures. Raises InvalidField for one that cannot be used."""
    images = asked.get("image", cast(tuple[PictureSource, ...], ()))
    masks = asked.get("mask", cast(tuple[PictureSource, ...], ()))
    brought = [Brought("image", source) for source in images]
    brought += [Brought("mask", source) for source in masks]
    stored = take_pictures(brought, now=now) if brought else []
    taken = Taken(images=stored[: len(images)], mask=stored[-1] if masks else None)
    _require_matching_mask(taken)
    return taken


def _require_matching_mask(taken: Taken) -> None:
    """A mask of another size would mark other places than its caller means."""
    if taken.mask is None:
        return
    image, mask = taken.images[0], taken.mask
    if (mask.width, mask.height) != (image.width, image.height):
        sizes = f"{image.width} x {image.height} pixels, not {mask.width} x {mask.height}"
        raise InvalidField(field="mask", problem=f"must have the size of the first image, {sizes}")


def translate(asked: Asked, taken: Taken, checkpoint: CatalogEntry | None, *, name: str) -> GenerationRequest:
    """The request as services take it, for the checkpoint called `name`; None if it is not to be found.

    Raises InvalidField with our own names: see `renamed`.
    """
    quality = asked.quality
    steps = quality.steps_of(checkpoint_defaults(checkpoint).steps) if checkpoint else None
    size, upscale = _sizes(asked, quality, checkpoint)
    seed = asked.get("seed", -1)
    return GenerationRequest(
        checkpoint=name,
        prompt=asked.revised_prompt or asked.get("prompt", _prompt_of(asked)),
        negative_prompt=asked.get("negative_prompt", None),
        width=size[0] if size else None,
        height=size[1] if size else None,
        num_images=asked.get("num_images", 1),
        steps=asked.get("steps", steps),
        guidance_scale=asked.get("guidance_scale", None),
        seed=None if seed < 0 else seed,
        tier=Tier(asked.get("tier", quality.tier)),
        wants_previews=asked.partial_images > 0,
        loras=asked.get("loras", ()),
        upscale=upscale,
        background=BackgroundWish() if asked.get("background", "") == TRANSPARENT else None,
        safety=MODERATION.get(asked.get("moderation", "")),
        output=OutputWish(
            media_type=MEDIA_TYPES[asked.get("output_format", "png")],
            # 0 is their strongest compression, and 1 ours.
            quality=max(1, asked.get("output_quality", 100)),
        ),
        **_with_pictures(asked, taken, checkpoint),
    )


def renamed(error: InvalidField) -> InvalidField:
    """The refusal with the dialect's name for the field."""
    return error.renamed(THEIRS.get(error.field, error.field))


def _prompt_of(asked: Asked) -> str:
    return VARIATION_PROMPT if asked.endpoint == VARIATIONS else ""


def _sizes(
    asked: Asked, quality: Quality, checkpoint: CatalogEntry | None
) -> tuple[Size | None, UpscaleWish | None]:
    """What is generated, and what it is enlarged to: by the quality, or because nothing so large is made."""
    size: Size | None = asked.get("size", None)
    if size is None:
        return None, None
    longest_px = MAX_SIDE_PX
    if quality.is_upscaled and checkpoint is not None and asked.endpoint not in FROM_PICTURE:
        longest_px = min(longest_px, checkpoint.max_native_side_px)
    if max(size) <= longest_px:
        return size, None
    return denoised_size(*size, longest_px=longest_px), UpscaleWish(width=size[0], height=size[1])


def _with_pictures(asked: Asked, taken: Taken, checkpoint: CatalogEntry | None) -> dict[str, Any]:
    """Kind and pictures of the request. Any: fields of several types.

    A model made for editing edits; others begin from the one picture, in its marked part if there is one.
    """
    if asked.endpoint not in FROM_PICTURE:
        return {"kind": Kind.TXT2IMG}
    first, *others = taken.images
    resize = Resize.CROP if asked.get("size", None) else None
    common: dict[str, Any] = {"image": first, "resize": resize}
    if asked.endpoint == EDITS and checkpoint is not None and most_references(checkpoint):
        return common | _editing(asked, taken, others)
    if others:
        problem = (
            "must be one picture for this model; several need one made for editing, such as FLUX.1 Kontext"
        )
        raise InvalidField(field="image", problem=problem)
    mask = _mask_of(asked, taken, first)
    if mask is not None:
        masked = {"kind": Kind.INPAINT, "mask": mask, "mask_options": MaskWish(from_alpha=True)}
        return common | masked | {"strength": asked.get("strength", None)}
    return common | {"kind": Kind.IMG2IMG, "strength": asked.get("strength", _strength_of(asked))}


def _editing(asked: Asked, taken: Taken, others: Sequence[StoredPicture]) -> dict[str, Any]:
    """A strength is handed on to be refused: such models begin from noise."""
    options = {"mask": taken.mask, "mask_options": MaskWish(from_alpha=True)} if taken.mask else {}
    strength = asked.get("strength", None)
    return {"kind": Kind.EDIT, "references": tuple(others), "strength": strength, **options}


def _mask_of(asked: Asked, taken: Taken, first: StoredPicture) -> StoredPicture | None:
    """Without a mask, the transparent parts of the picture are meant, as in their oldest model."""
    if asked.endpoint == EDITS and taken.mask is None and first.has_alpha:
        return first
    return taken.mask


def _strength_of(asked: Asked) -> float | None:
    if asked.endpoint == VARIATIONS:
        return VARIATION_STRENGTH
    return FAITHFUL_STRENGTH if asked.get("input_fidelity", "") == "high" else None
