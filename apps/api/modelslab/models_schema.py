"""The parameters of a generation endpoint as JSON Schema, out of the table that reads them."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields.table import REQUIRED, Field
from apps.api.readers import JsonSchema
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry

SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
DESCRIBED: Final = (
    "v6/images/text2img",
    "v6/images/img2img",
    "v6/images/inpaint",
    "v6/images/controlnet",
    "v7/images/text-to-image",
    "v7/images/image-to-image",
)
"""Paths below /api/ that a checkpoint's page tells of."""


def parameters_of(entry: CatalogEntry) -> dict[str, JsonSchema]:
    """By endpoint, what a request with this model may say; nothing for what is not used by itself."""
    if entry.kind != Kind.CHECKPOINT:
        return {}
    return {f"/api/{path}": _schema(entry, path) for path in DESCRIBED}


def _schema(entry: CatalogEntry, path: str) -> JsonSchema:
    # Fields of v7 are read under v6 as well, but no client of v6 knows them.
    fields = [field for field in ENDPOINTS[path].table if path.startswith("v7/") or field.since != "v7"]
    own = _own_values(entry)
    return {
        "$schema": SCHEMA,
        "type": "object",
        "properties": {field.theirs: property_of(field) | own.get(field.theirs, {}) for field in fields},
        "required": [field.theirs for field in fields if field.default == REQUIRED],
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


def property_of(field: Field) -> JsonSchema:
    """One row of the table: the plain spelling; looser ones are understood, see the description."""
    return {**field.read.schema, "description": f"{field.read.allowed}; if left out: {field.default}"}
