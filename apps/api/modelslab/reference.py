"""The dialect's endpoints for the reference, out of the tables that read their bodies."""

from __future__ import annotations

from collections.abc import Mapping

from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields.table import REQUIRED
from apps.api.modelslab.models_schema import JsonSchema, property_of
from apps.api.modelslab.translation.asked import Endpoint


def describe() -> Mapping[str, JsonSchema]:
    """Path below /api/ -> JSON Schema of its body, titled with what it does."""
    return {path: _body_schema(endpoint) for path, endpoint in ENDPOINTS.items()}


def _body_schema(endpoint: Endpoint) -> JsonSchema:
    properties = {row.theirs: property_of(row) for row in endpoint.table}
    refused = {
        name: {"description": f"Refused where it means something: {row.advice}."}
        for name, row in endpoint.refused.items()
    }
    return {
        "title": endpoint.summary,
        "type": "object",
        "properties": properties | refused,
        "required": [row.theirs for row in endpoint.table if row.default == REQUIRED],
        # Unknown names are ignored, as there.
        "additionalProperties": True,
    }
