"""The dialect's endpoints for the reference, out of the tables that read their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields.table import REQUIRED, Table
from apps.api.modelslab.models_schema import property_of
from apps.api.modelslab.translation.asked import Endpoint
from apps.api.readers import JsonSchema

KEY: Final = "key"
KEY_SCHEMA: Final[JsonSchema] = {"type": "string", "description": "The API key, unless a header has it."}


def describe() -> Mapping[str, JsonSchema]:
    """Path below /api/ -> JSON Schema of its body, titled with what it does."""
    return {path: _body_schema(endpoint) for path, endpoint in ENDPOINTS.items()}


def _body_schema(endpoint: Endpoint) -> JsonSchema:
    schema = table_schema(endpoint.table)
    refused = {
        name: {"description": f"Refused where it means something: {row.advice}."}
        for name, row in endpoint.refused.items()
    }
    properties = cast("JsonSchema", schema["properties"])
    return {"title": endpoint.summary, **schema, "properties": properties | refused}


def table_schema(table: Table) -> JsonSchema:
    """The body that a table reads, with the key, which may stand in it as well."""
    return {
        "type": "object",
        "properties": {KEY: KEY_SCHEMA} | {row.theirs: property_of(row) for row in table},
        "required": [row.theirs for row in table if row.default == REQUIRED],
        # Unknown names are ignored, as there.
        "additionalProperties": True,
    }
