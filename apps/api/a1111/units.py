"""Units of the ControlNet extension, `alwayson_scripts.ControlNet.args`: read, turned into control wishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from apps.accounts.models import Account
from apps.api.a1111.checkpoints import find_by_title
from apps.api.a1111.errors import CONTROLNET_NOT_FOUND, MODULE_NOT_FOUND, BadField, Refusal
from apps.api.a1111.modules import NO_MODEL, NONE, find_module, list_networks, type_of
from apps.api.a1111.readers import ANY_NUMBER, Flag, Named, Number, Whole
from apps.api.readers import BadValue, Reader, Text
from apps.generation.choices import Balance, ControlType
from apps.generation.request import MAX_CONTROLS
from apps.generation.wishes import MAX_CONTROL_SCALE, ControlWish, StoredPicture

RESIZE_MODES: Final = ("Just Resize", "Crop and Resize", "Resize and Fill")
CROP: Final = 1
CONTROL_MODES: Final = ("Balanced", "My prompt is more important", "ControlNet is more important")
BALANCES: Final = (Balance.BALANCED, Balance.PROMPT, Balance.CONTROL)
LOWEST_RESOLUTION: Final = 64
HIGHEST_RESOLUTION: Final = 2048

_NAME: Final = Text(max_chars=300)
_SHARE: Final = Number(lowest=0.0, highest=1.0)

UNIT_FIELDS: Final[Mapping[str, tuple[Reader, object]]] = {
    "enabled": (Flag(), True),
    "module": (_NAME, NONE),
    "model": (_NAME, "None"),
    "weight": (Number(lowest=0.0, highest=MAX_CONTROL_SCALE), 1.0),
    "resize_mode": (Named(RESIZE_MODES), CROP),
    "control_mode": (Named(CONTROL_MODES), 0),
    "guidance_start": (_SHARE, 0.0),
    "guidance_end": (_SHARE, 1.0),
    "processor_res": (Whole(lowest=-1, highest=HIGHEST_RESOLUTION), 512),
    "threshold_a": (ANY_NUMBER, None),
    "threshold_b": (ANY_NUMBER, None),
    "pixel_perfect": (Flag(), False),
    "union_control_type": (_NAME, ""),
    "save_detected_map": (Flag(), True),
}
"""Their names, how each is read, and its default. `image` is read apart: it may be an object."""

IGNORED_UNIT_FIELDS: Final[Mapping[str, str]] = {
    "low_vram": "memory is looked after by the server",
    "hr_option": "both passes follow the map",
    "image.mask": "what an interface draws over a picture, as a rule nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One enabled unit, read. Any: values by their readers."""

    place: str
    """For refusals: "alwayson_scripts.ControlNet.args.0"."""
    image: str
    """As it was sent; "" for the picture that img2img begins from."""
    values: Mapping[str, Any]

    @property
    def is_hint(self) -> bool:
        """Whether its picture is the map already."""
        return str(self.values["module"]).strip().casefold() in ("", NONE)


def read_units(arguments: object, place: str) -> tuple[Unit, ...]:
    """The enabled ones. Raises BadField."""
    if not isinstance(arguments, list):
        raise BadField(place, "must be a list of units")
    units = [_read_unit(argument, f"{place}.{number}") for number, argument in enumerate(arguments)]
    enabled = tuple(unit for unit in units if unit is not None and unit.values["enabled"])
    if len(enabled) > MAX_CONTROLS:
        raise BadField(place, f"must have at most {MAX_CONTROLS} enabled units, not {len(enabled)}")
    return enabled


def _read_unit(argument: object, place: str) -> Unit | None:
    """None for a flag: older clients put two before the units (is_img2img, is_ui)."""
    if isinstance(argument, bool) or argument is None:
        return None
    if not isinstance(argument, dict):
        raise BadField(place, "must be a unit, an object")
    values = {
        name: _value(argument.get(name), read, default, f"{place}.{name}")
        for name, (read, default) in UNIT_FIELDS.items()
    }
    if argument.get("mask"):
        raise BadField(f"{place}.mask", "is not supported: the mask of img2img counts for its units as well")
    picture = argument.get("image") or argument.get("input_image")
    if isinstance(picture, dict):
        picture = picture.get("image")
    if picture is not None and not isinstance(picture, str):
        raise BadField(f"{place}.image", "must be a picture as base64")
    return Unit(place=place, image=picture or "", values=values)


def _value(value: object, read: Reader, default: object, place: str) -> object:
    if value is None:
        return default
    try:
        return read(value)
    except BadValue as error:
        raise BadField(place, str(error)) from None


def control_wishes(
    units: Sequence[Unit], pictures: Sequence[StoredPicture], *, account: Account, short_side: int
) -> tuple[ControlWish, ...]:
    """The units with their pictures, as services take them.

    `short_side` is that of the result in pixels, at which pixel-perfect detectors work. Raises BadField for a
    type that cannot be told, Refusal for a module or model that is not there, and InvalidField.
    """
    return tuple(
        _wish(unit, picture, account, short_side) for unit, picture in zip(units, pictures, strict=True)
    )


def _wish(unit: Unit, picture: StoredPicture, account: Account, short_side: int) -> ControlWish:
    values = unit.values
    model, of_model = _network(unit, account)
    return ControlWish(
        picture=picture,
        type=_type(unit, of_model),
        model=model,
        is_hint=unit.is_hint,
        scale=values["weight"],
        start=values["guidance_start"],
        end=values["guidance_end"],
        resolution_px=resolution_of(values, short_side),
        threshold_a=threshold_of(values["threshold_a"]),
        threshold_b=threshold_of(values["threshold_b"]),
        balance=BALANCES[values["control_mode"]],
    )


def _network(unit: Unit, account: Account) -> tuple[str, ControlType | None]:
    """The catalogue's name and the type of the named ControlNet; "" for the one of the module's type."""
    name = str(unit.values["model"])
    if name.strip().casefold() in NO_MODEL:
        return "", None
    entry = find_by_title(list_networks(account), name)
    if entry is None:
        problem = f"ControlNet model {name[:200]} not found"
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, problem, code=CONTROLNET_NOT_FOUND)
    return entry.name, type_of(entry, str(unit.values["union_control_type"]))


def _type(unit: Unit, of_model: ControlType | None) -> ControlType:
    """A module's own; without one, what the model follows."""
    if unit.is_hint:
        if of_model is None:
            problem = "does not tell which kind of map it follows: name a module, or set union_control_type"
            raise BadField(f"{unit.place}.model", problem)
        return of_model
    row = find_module(str(unit.values["module"]))
    if row is None:
        raise module_missing(str(unit.values["module"]))
    return row.type


def module_missing(name: str) -> Refusal:
    """Theirs, with the name."""
    problem = f"Module not available: {name[:200]}"
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, problem, code=MODULE_NOT_FOUND)


def resolution_of(values: Mapping[str, Any], short_side: int) -> int:
    """At which a detector works, pixels of the shorter side; theirs may be -1, which is the default."""
    asked = short_side if values.get("pixel_perfect") else int(values["processor_res"])
    return max(LOWEST_RESOLUTION, min(HIGHEST_RESOLUTION, asked if asked > 0 else 512))


def threshold_of(value: float | None) -> float | None:
    """Below 0 is the detector's own."""
    return None if value is None or value < 0 else value
