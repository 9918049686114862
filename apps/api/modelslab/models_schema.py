"""The parameters of a generation endpoint as JSON Schema, out of the table that reads them."""

from __future__ import annotations

from typing import Final, Protocol, cast

from apps.api.modelslab.fields import FIELDS, Field
from apps.api.modelslab.readers import Flag, Number, Reader, Seed, Text, Whole
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry

SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
ENDPOINTS: Final = {"/api/v6/images/text2img": ("v6",), "/api/v7/images/text-to-image": ("v6", "v7")}
"""Path -> versions whose fields it has."""

JsonSchema = dict[str, object]


class Described(Protocol):
    """What every reader of the table says of itself."""

    @property
    def allowed(self) -> str: ...


def parameters_of(entry: CatalogEntry) -> dict[str, JsonSchema]:
    """By endpoint, what a request with this model may say; nothing for what is not used by itself."""
    if entry.kind != Kind.CHECKPOINT:
        return {}
    return {path: _schema(entry, versions) for path, versions in ENDPOINTS.items()}


def _schema(entry: CatalogEntry, versions: tuple[str, ...]) -> JsonSchema:
    fields = [field for field in FIELDS if field.since in versions]
    own = _own_values(entry)
    return {
        "$schema": SCHEMA,
        "type": "object",
        "properties": {field.theirs: _property(field) | own.get(field.theirs, {}) for field in fields},
        "required": [field.theirs for field in fields if field.default == "required"],
        "additionalProperties": True,
    }


def _own_values(entry: CatalogEntry) -> dict[str, JsonSchema]:
    """What this model says of fields that are open in general."""
    sides: JsonSchema = {
        "default": entry.native_px,
        "minimum": entry.min_side_px,
        "maximum": entry.max_side_px,
    }
    return {
        "model_id": {"const": entry.name},
        "width": sides,
        "height": sides,
        "num_inference_steps": {"default": entry.defaults["steps"]},
        "guidance_scale": {"default": entry.defaults["guidance_scale"]},
        "negative_prompt": {"default": entry.defaults.get("negative_prompt", "")},
        "samples": {"default": 1},
    }


def _property(field: Field) -> JsonSchema:
    allowed = cast(Described, field.read).allowed
    return {**_type(field.read), "description": f"{allowed}; if left out: {field.default}"}


def _type(read: Reader) -> JsonSchema:
    """The plain spelling; looser ones are understood, see the description."""
    if isinstance(read, Whole):
        step: JsonSchema = {"multipleOf": read.multiple_of} if read.multiple_of > 1 else {}
        return {"type": "integer", "minimum": read.lowest, "maximum": read.highest, **step}
    if isinstance(read, Seed):
        return {"type": ["integer", "null"], "minimum": -1, "maximum": read.highest}
    if isinstance(read, Number):
        return {"type": "number", "minimum": read.lowest, "maximum": read.highest}
    if isinstance(read, Text):
        return {"type": "string", "maxLength": read.max_chars}
    if isinstance(read, Flag):
        return {"type": "boolean"}
    return {"type": ["string", "number", "array"]}
