"""ControlNet requests: which networks follow which pictures, and what is found in those first."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.fields.controlnet import CONTROL_TYPES, READY_MADE
from apps.api.modelslab.fields.generation import NEUTRAL_PROMPT
from apps.api.modelslab.translation.asked import Asked
from apps.api.modelslab.translation.denoising import common, one_each
from apps.catalog.choices import Kind as EntryKind
from apps.catalog.selectors import access_entry
from apps.core.errors import InvalidField
from apps.generation.choices import ControlType, Kind, Resize
from apps.generation.request import GenerationRequest
from apps.generation.wishes import MAX_CONTROL_SCALE, ControlWish, StoredPicture

PLAIN_HINT: Final = ControlType.TILE
"""Of a network whose type nobody names, with a picture that is taken as it is."""


def controlnet(asked: Asked) -> GenerationRequest:
    """Raises InvalidField, ModelNotInstalled and EntryNotFound."""
    values = asked.values
    image, controls = _init_image(asked), _controls(asked)
    mask = values.find("mask", StoredPicture)
    begins_from_image = image is not None and (values.has("strength") or mask is not None)
    prompt = NEUTRAL_PROMPT if values.get("is_guessing", False) else ""
    return GenerationRequest(
        kind=Kind.CONTROLNET,
        controls=controls,
        image=image if begins_from_image else None,
        mask=mask if begins_from_image else None,
        strength=values.get("strength", None) if begins_from_image else None,
        resize=Resize.CROP,
        **common(asked, prompt=prompt),
    )


def _init_image(asked: Asked) -> StoredPicture | None:
    pictures: tuple[StoredPicture, ...] = asked.values.get("images", ())
    if len(pictures) > 1:
        raise InvalidField(field=asked.values.name_of("images", "init_image"), problem="must be one picture")
    return pictures[0] if pictures else None


def _names(asked: Asked) -> tuple[str, ...]:
    """The ids of the networks; a type alone is an id as well. Raises InvalidField without any."""
    names: tuple[str, ...] = asked.values.get("control_names", ()) or asked.values.get("control_types", ())
    if not names:
        raise InvalidField(field="controlnet_model", problem="is required")
    return names


def _controls(asked: Asked) -> tuple[ControlWish, ...]:
    names, values = _names(asked), asked.values
    types: tuple[str, ...] = values.get("control_types", ())
    scales = one_each(
        values.get("control_scales", ()), names, "controlnet_conditioning_scale", "controlnet_model"
    )
    pictures = _control_pictures(asked, len(names))
    return tuple(
        _control(asked, name, _type_of(asked, name, types, index), pictures[index], scales[index])
        for index, name in enumerate(names)
    )


def _control(asked: Asked, name: str, type: ControlType, picture: StoredPicture, scale: float) -> ControlWish:
    return ControlWish(
        picture=picture,
        type=type,
        # A word for a type means whatever network of that type fits the checkpoint.
        model="" if name.lower() in CONTROL_TYPES else name,
        is_hint=name.lower() in READY_MADE or not _finds_hints(asked),
        # Theirs goes to 20 under enterprise; networks lead no further than ours goes.
        scale=min(MAX_CONTROL_SCALE, scale),
    )


def _finds_hints(asked: Asked) -> bool:
    """As the caller says; else yes for `init_image` outside enterprise, no for a `control_image`."""
    said: bool | None = asked.values.get("finds_hints", None)
    if said is not None:
        return said
    return not asked.values.has("control_pictures") and not asked.is_enterprise


def _type_of(asked: Asked, name: str, types: tuple[str, ...], index: int) -> ControlType:
    """What the id says, else the type in its place or the only one, else what the catalogue knows."""
    if name.lower() in CONTROL_TYPES:
        return CONTROL_TYPES[name.lower()]
    said = types[index] if len(types) > index else (types[0] if len(types) == 1 else "")
    if said.lower() in CONTROL_TYPES:
        return CONTROL_TYPES[said.lower()]
    entry = access_entry(account=asked.account, name=name, kind=EntryKind.CONTROLNET)
    if entry.variant in CONTROL_TYPES:
        return CONTROL_TYPES[entry.variant]
    if name.lower() in READY_MADE or not _finds_hints(asked):
        return PLAIN_HINT
    raise InvalidField(
        field="controlnet_type", problem=f"is required with {name[:80]}: one of {', '.join(CONTROL_TYPES)}"
    )


def _control_pictures(asked: Asked, count: int) -> tuple[StoredPicture, ...]:
    """One for each network; a single one serves all. Raises InvalidField."""
    given: tuple[StoredPicture, ...] = asked.values.get("control_pictures", ())
    if not given:
        image = _init_image(asked)
        if image is None:
            raise InvalidField(field="init_image", problem="is required, or control_image")
        given = (image,)
    if len(given) == 1:
        return given * count
    if len(given) != count:
        problem = f"must be one picture, or {count} as controlnet_model has, not {len(given)}"
        raise InvalidField(field="control_image", problem=problem)
    return given
