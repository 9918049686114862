"""Extras: enlarging pictures and mending faces in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from apps.accounts.models import Account
from apps.api.a1111.errors import BadField
from apps.api.a1111.faces import faces_of_extras
from apps.api.a1111.fields import FLAG, NAME, SHARE
from apps.api.a1111.readers import Named, Number, Whole
from apps.api.a1111.upscalers import find_upscaler
from apps.api.readers import BadValue, Reader
from apps.core.errors import InvalidField
from apps.generation.choices import Kind
from apps.generation.picture_fitting import crop_to_ratio
from apps.generation.request import GenerationRequest
from apps.generation.wishes import LANCZOS, MAX_UPSCALED_PX, FaceWish, StoredPicture, UpscaleWish

MODES: Final = ("factor", "target size")
MAX_FACTOR: Final = 8.0
_SIDE: Final = Whole(lowest=1, highest=MAX_UPSCALED_PX)

FIELDS: Final[Mapping[str, tuple[Reader, object]]] = {
    "resize_mode": (Named(MODES), 0),
    "show_extras_results": (FLAG, True),
    "gfpgan_visibility": (SHARE, 0.0),
    "codeformer_visibility": (SHARE, 0.0),
    "codeformer_weight": (SHARE, 0.0),
    "upscaling_resize": (Number(lowest=0.1, highest=MAX_FACTOR), 2.0),
    "upscaling_resize_w": (_SIDE, 512),
    "upscaling_resize_h": (_SIDE, 512),
    "upscaling_crop": (FLAG, True),
    "upscaler_1": (NAME, "None"),
    "upscaler_2": (NAME, "None"),
    "extras_upscaler_2_visibility": (SHARE, 0.0),
    "upscale_first": (FLAG, False),
}
"""Their names, how each is read, and its default."""

THEIRS: Final[Mapping[str, str]] = {
    "upscale_width": "upscaling_resize_w",
    "upscale_height": "upscaling_resize_h",
    "upscale": "upscaling_resize",
    "upscaler": "upscaler_1",
}
"""Our names to theirs, for refusals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What is done with each picture."""

    upscaler: str
    """Ours; "" for none."""
    faces: tuple[FaceWish, ...]
    """What restores faces, one after the other."""
    factor: float | None
    """None where a size is asked for."""
    size: tuple[int, int]
    crops: bool
    """Whether what stands out of the size is cut off."""


def read_extras(fields: Mapping[str, object], account: Account) -> Extras:
    """Raises BadField, and Refusal for an upscaler that is not there."""
    values = {name: _value(name, fields.get(name), *row) for name, row in FIELDS.items()}
    if values["extras_upscaler_2_visibility"] and find_upscaler(values["upscaler_2"], account):
        problem = "above 0 blends two upscalers, which is not supported: use one"
        raise BadField("extras_upscaler_2_visibility", problem)
    return Extras(
        upscaler=find_upscaler(values["upscaler_1"], account),
        faces=faces_of_extras(values),
        factor=values["upscaling_resize"] if values["resize_mode"] == 0 else None,
        size=(values["upscaling_resize_w"], values["upscaling_resize_h"]),
        crops=values["upscaling_crop"],
    )


def _value(name: str, value: object, read: Reader, default: object) -> Any:
    """By each field's reader, hence Any."""
    if value is None:
        return default
    try:
        return read(value)
    except BadValue as error:
        raise BadField(name, str(error)) from None


def extras_request(extras: Extras, picture: StoredPicture, *, now: datetime) -> GenerationRequest | None:
    """The picture's request; None where nothing is to be done with it, as there without an upscaler.

    Raises InvalidField beyond 8192 pixels a side.
    """
    if not extras.upscaler and not extras.faces:
        return None
    width, height = _target(extras, picture) if extras.upscaler else (picture.width, picture.height)
    if extras.upscaler and extras.factor is None and extras.crops:
        picture = crop_to_ratio(picture, (width, height), now=now)
    try:
        return GenerationRequest(
            kind=Kind.UPSCALE,
            image=picture,
            upscale=UpscaleWish(width=width, height=height, upscaler=extras.upscaler or LANCZOS),
            faces=extras.faces,
        )
    except InvalidField as error:
        raise error.renamed(THEIRS.get(error.field, error.field)) from None


def _target(extras: Extras, picture: StoredPicture) -> tuple[int, int]:
    """Of the result. A size that is not cropped to is covered: its own proportions stand out, as there."""
    if extras.factor is None and extras.crops:
        return extras.size
    factor = extras.factor
    if factor is None:
        factor = max(extras.size[0] / picture.width, extras.size[1] / picture.height)
    return max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
