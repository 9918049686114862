"""Models in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.native import models
from apps.api.native.models_fields import CHANGES, LIST_PARAMETERS
from apps.api.reference.native_jobs import page_of
from apps.api.reference.operations import (
    IDEMPOTENCY,
    PNG,
    Answer,
    JsonSchema,
    Parameter,
    Said,
    ok,
)
from apps.api.reference.shapes import shape_of
from apps.apikeys.choices import Scope

TAG: Final = "Models"
SUMMARY: Final = {
    "name": "starter",
    "kind": "checkpoint",
    "title": "Starter",
    "family": "sd15",
    "variant": "",
    "tags": ["icons"],
    "trigger_words": [],
    "licence": "CC0-1.0",
    "is_commercial_use_allowed": True,
    "provider": "local",
    "visibility": "public",
    "is_mine": False,
    "is_enabled": True,
    "size_bytes": 180_355_072,
    "native_px": 128,
    "previews": [],
    "use_count": 12,
    "last_used_at": "2026-03-02T12:00:04.000000Z",
    "created_at": "2026-03-01T08:00:00.000000Z",
}
MODEL: Final = {
    **SUMMARY,
    "aliases": [],
    "description": "The model that ships with the appliance.",
    "source_url": "",
    "digest": "9f86d081884c7d65…",
    "components": {},
    "details": {},
    "defaults": {"steps": 20, "guidance_scale": 5.0},
    "min_side_px": 64,
    "max_side_px": 256,
    "max_native_side_px": 256,
    "updated_at": "2026-03-01T08:00:00.000000Z",
}
FACET: Final = [{"value": "checkpoint", "count": 4}]
FACETS: Final = {"total": 4} | dict.fromkeys(
    ("kind", "family", "variant", "provider", "licence", "tag"), FACET
)
READ: Final = (401, 403, 503)
FOUND: Final = (401, 403, 404, 503)
CHANGED: Final = (400, 401, 403, 404, 409, 413, 503)


def query(parameters: Mapping[str, str]) -> tuple[Parameter, ...]:
    """Parameters of a list out of its table of words."""
    return tuple(
        Parameter(name=name, place="query", schema={"type": "string"}, meaning=meaning)
        for name, meaning in parameters.items()
    )


def _model(meaning: str) -> Answer:
    return Answer(meaning=meaning, schema={"$ref": "#/components/schemas/Model"}, example=MODEL)


def _change_schema() -> JsonSchema:
    properties = {name: {**row.schema, "description": row.must} for name, row in CHANGES.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


SAID: Final[Mapping[tuple[type, str], Said]] = {
    (models.ModelListView, "get"): Said(
        summary="Models you may use",
        description="OpenAI's own libraries get OpenAI's form here; see /openai/v1/models.",
        scope=Scope.MODELS_READ,
        parameters=query(LIST_PARAMETERS),
        answers={200: page_of("ModelSummary", SUMMARY)},
        refusals=(400, *READ),
    ),
    (models.FacetsView, "get"): Said(
        summary="How many models each value of a filter leaves",
        scope=Scope.MODELS_READ,
        answers=ok("Counts by filter.", schema=shape_of(FACETS), example=FACETS),
        refusals=READ,
    ),
    (models.ModelView, "get"): Said(
        summary="One model",
        scope=Scope.MODELS_READ,
        answers={200: _model("All that its reader may know.")},
        refusals=FOUND,
    ),
    (models.ModelView, "patch"): Said(
        summary="Change a model",
        description="For operators.",
        scope=Scope.MODELS_ADMIN,
        body=_change_schema(),
        examples={"a title": {"title": "Starter", "tags": ["icons"]}},
        answers={200: _model("As it is now.")},
        refusals=CHANGED,
    ),
    (models.ModelView, "delete"): Said(
        summary="Delete a model",
        description="Your own private ones; any, for operators.",
        scope=Scope.MODELS_WRITE,
        answers={204: Answer(meaning="Gone.")},
        refusals=(401, 403, 404, 409, 503),
    ),
    (models.ReloadView, "post"): Said(
        summary="Let workers load a model anew",
        description="For operators.",
        scope=Scope.MODELS_ADMIN,
        parameters=(IDEMPOTENCY,),
        answers={
            202: Answer(
                meaning="They will, when they next need it.",
                schema=shape_of({"name": "", "state": ""}),
                example={"name": "starter", "state": "reload_requested"},
                headers=("Idempotent-Replayed",),
            )
        },
        refusals=(400, 401, 403, 404, 409, 503),
    ),
    (models.PreviewsView, "post"): Said(
        summary="Add a preview to a model",
        description="The image is the body itself, or the one file of a form.",
        scope=Scope.MODELS_WRITE,
        parameters=(IDEMPOTENCY,),
        body={"type": "string", "format": "binary"},
        media_types=(PNG,),
        answers={201: _model("With its new preview.")},
        refusals=CHANGED,
    ),
    (models.PreviewView, "delete"): Said(
        summary="Remove a preview of a model",
        scope=Scope.MODELS_WRITE,
        answers={204: Answer(meaning="Gone.")},
        refusals=(401, 403, 404, 409, 503),
    ),
}
