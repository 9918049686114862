"""Super resolution."""

from __future__ import annotations

from apps.api.modelslab.fields.upscale import DEFAULT_SCALE, STAND_INS
from apps.api.modelslab.translation.asked import Asked, Translate
from apps.catalog.choices import Kind as EntryKind
from apps.catalog.selectors import find_entry, list_usable
from apps.generation.choices import Kind
from apps.generation.request import GenerationRequest
from apps.generation.wishes import UPSCALE_FACTORS, StoredPicture, UpscaleWish


def upscaling(default_scale: int = DEFAULT_SCALE) -> Translate:
    """An enlargement by `scale`, which may be any whole factor: what no model has is resampled from it."""

    def translate(asked: Asked) -> GenerationRequest:
        image = asked.values.find("image", StoredPicture)
        assert image is not None
        scale = asked.values.get("upscale_factor", default_scale)
        has_factor = scale in UPSCALE_FACTORS
        return GenerationRequest(
            kind=Kind.UPSCALE,
            seed=asked.values.get("seed", None),
            image=image,
            upscale=UpscaleWish(
                factor=scale if has_factor else None,
                width=None if has_factor else image.width * scale,
                height=None if has_factor else image.height * scale,
                upscaler=_upscaler(asked),
                is_face_enhanced=asked.values.get("is_face_enhanced", False),
            ),
        )

    return translate


def _upscaler(asked: Asked) -> str:
    """The catalogue's name for theirs; an unknown one stays as it is, and is refused by that name."""
    name: str = asked.values.get("upscaler", "")
    if not name:
        return ""
    usable = list_usable(account=asked.account).filter(kind=EntryKind.UPSCALER)
    return name if find_entry(usable, name) else STAND_INS.get(name.lower(), name)
