"""A request of txt2img or img2img, read: its fields, what its settings override, its scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from apps.api.a1111.checkpoints import find_by_title, find_checkpoint
from apps.api.a1111.errors import CHECKPOINT_NOT_FOUND, SCRIPT_NOT_FOUND, BadField, Refusal
from apps.api.a1111.fields import IMG2IMG, read_values
from apps.api.a1111.infotexts import fields_in
from apps.api.a1111.options import (
    CHECKPOINT,
    NO_VAE,
    OPTIONS,
    VAE,
    chosen_checkpoint,
    read_option,
    stored_values,
)
from apps.api.a1111.prompts import Networks, read_networks
from apps.api.a1111.units import Unit, read_units
from apps.api.bodies import JsonObject
from apps.apikeys.models import ApiKey
from apps.catalog.choices import Kind
from apps.catalog.errors import FamilyMismatch
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import list_usable, require_compatible

CONTROLNET: Final = "controlnet"
REFINER: Final = "refiner"
WITHOUT_EFFECT: Final = frozenset({"extra options", "comments", "hypertile"})
"""Scripts that come with it and leave images as they are: accepted."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Every value is of its kind and in range."""

    endpoint: str
    values: Mapping[str, Any]
    """The fields of the endpoint, defaults included. Any: by each field's reader."""
    options: Mapping[str, Any]
    """The key's settings, with what this request overrides."""
    overridden: Mapping[str, Any]
    """What it overrides."""
    checkpoint: CatalogEntry
    networks: Networks
    vae: str | None
    units: tuple[Unit, ...]
    refiner: tuple[str, float]
    """The second checkpoint, "" for none, and the share of the steps before it."""

    def get(self, name: str) -> Any:
        """The value of a field; None for one of the other endpoint."""
        return self.values.get(name)

    @property
    def is_from_picture(self) -> bool:
        return self.endpoint == IMG2IMG

    @property
    def is_hires(self) -> bool:
        return self.get("enable_hr") is True

    @property
    def first_size(self) -> Size:
        """Width and height of the first pass, pixels."""
        first = self.get("firstphase_width"), self.get("firstphase_height")
        if self.is_hires and all(first):
            return int(first[0]), int(first[1])
        return self.get("width"), self.get("height")

    @property
    def hires_size(self) -> tuple[int | None, int | None] | None:
        """What the second pass is asked to come to, None for a side that follows; None to go by the scale."""
        if self.first_size != (self.get("width"), self.get("height")):
            return self.get("width"), self.get("height")
        sides = self.get("hr_resize_x") or None, self.get("hr_resize_y") or None
        return sides if any(sides) else None


def read_asked(fields: JsonObject, endpoint: str, key: ApiKey) -> Asked:
    """Raises BadField for the first field that is wrong, Refusal for a script or model that is not there."""
    values = read_values(_with_infotext(fields), endpoint)
    if values["script_name"]:
        raise _script_missing(values["script_name"])
    stored = stored_values(key)
    overridden = _overridden(values["override_settings"] or {}, key)
    options = stored | overridden
    scripts = _scripts(values["alwayson_scripts"])
    checkpoint = chosen_checkpoint(key, options)
    if checkpoint is None:
        problem = "No checkpoint that this API key may use is installed"
        raise Refusal(HTTPStatus.NOT_FOUND, problem, code=CHECKPOINT_NOT_FOUND)
    return Asked(
        endpoint=endpoint,
        values=values,
        options=options,
        overridden=overridden,
        checkpoint=checkpoint,
        networks=read_networks(
            values["prompt"],
            values["negative_prompt"],
            account=key.account,
            is_applied=not values["disable_extra_networks"],
        ),
        vae=_vae(options[VAE], checkpoint, key, is_asked=VAE in overridden),
        units=_units(scripts),
        refiner=_refiner(values, scripts, key),
    )


def _with_infotext(fields: JsonObject) -> JsonObject:
    """A request may say what it wants in the words of an image's text; what it says itself comes first."""
    text = fields.get("infotext")
    if not isinstance(text, str) or not text.strip():
        return fields
    return fields_in(text) | {name: value for name, value in fields.items() if value is not None}


def _overridden(settings: Mapping[str, object], key: ApiKey) -> dict[str, object]:
    """Known settings of this request. A checkpoint that is not to be found counts as not said, as there."""
    found = {
        name: _option(name, value)
        for name, value in settings.items()
        if name in OPTIONS and value is not None
    }
    checkpoint = found.get(CHECKPOINT)
    if checkpoint is not None and find_checkpoint(str(checkpoint), key) is None:
        del found[CHECKPOINT]
    return found


def _option(name: str, value: object) -> object:
    try:
        return read_option(name, value)
    except BadField as error:
        raise BadField(f"override_settings.{name}", error.problem) from None


def _vae(name: str, checkpoint: CatalogEntry, key: ApiKey, *, is_asked: bool) -> str | None:
    """The catalogue's name; None for the checkpoint's own and, as there, for one that is not to be found.

    One that was chosen for another checkpoint is left out; one that this request asks for is refused later.
    """
    if name.strip().casefold() in NO_VAE:
        return None
    entry = find_by_title(list_usable(account=key.account).filter(kind=Kind.VAE), name)
    if entry is None:
        return None
    try:
        require_compatible(entry=entry, checkpoint=checkpoint)
    except FamilyMismatch:
        return entry.name if is_asked else None
    return entry.name


def _scripts(scripts: Mapping[str, object]) -> dict[str, object]:
    """Arguments by folded name. Raises Refusal for a script that is not there."""
    found: dict[str, object] = {}
    for name, given in scripts.items():
        folded = name.strip().casefold()
        if folded not in {CONTROLNET, REFINER} | WITHOUT_EFFECT:
            raise _script_missing(name)
        arguments = given.get("args", []) if isinstance(given, dict) else given
        if not isinstance(arguments, list):
            raise BadField(f"alwayson_scripts.{name}.args", "must be a list")
        found[folded] = arguments
    return found


def _script_missing(name: str) -> Refusal:
    problem = f"Script '{name[:200]}' not found"
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, problem, code=SCRIPT_NOT_FOUND)


def _units(scripts: Mapping[str, object]) -> tuple[Unit, ...]:
    return read_units(scripts.get(CONTROLNET, []), "alwayson_scripts.ControlNet.args")


def _refiner(values: Mapping[str, Any], scripts: Mapping[str, Any], key: ApiKey) -> tuple[str, float]:
    """From the fields, or from the script's arguments (enable, checkpoint, switch at)."""
    name, switch_at = values["refiner_checkpoint"], values["refiner_switch_at"]
    arguments = scripts.get(REFINER, [])
    if len(arguments) >= 2 and arguments[0] is True:
        name, switch_at = arguments[1], arguments[2] if len(arguments) > 2 else None
    if not isinstance(name, str) or name.strip().casefold() in ("", "none"):
        return "", 1.0
    entry = find_checkpoint(name, key)
    if entry is None:
        # As there, but said: an image without the asked refiner looks like a fault of the model.
        raise BadField("refiner_checkpoint", f"names no model of this server: {name[:80]!a}")
    if not isinstance(switch_at, int | float) or isinstance(switch_at, bool):
        # Upstream has no default: without a share its refiner does nothing.
        return "", 1.0
    return entry.name, float(switch_at)
