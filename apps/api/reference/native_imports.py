"""Imports of models in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.api.native import imports
from apps.api.native.imports_fields import FIELDS, LIST_PARAMETERS, SOURCES
from apps.api.reference.native_jobs import LAST_EVENT_ID, page_of, referring
from apps.api.reference.native_models import CHANGED, FOUND, READ, query
from apps.api.reference.operations import (
    EVENTS,
    FORM,
    IDEMPOTENCY,
    JSON,
    Answer,
    JsonSchema,
    Parameter,
    Said,
    ok,
)
from apps.api.reference.shapes import shape_of
from apps.api.reference.typed import schema_of_result
from apps.apikeys.choices import Scope

TAG: Final = "Imports of models"
IMPORT: Final = {
    "id": 7,
    "state": "running",
    "source": "hub",
    "address": "stabilityai/sdxl-turbo",
    "revision": "",
    "name": "sdxl-turbo",
    "visibility": "private",
    "requested_by": "my key (dkr_ab12cd34)",
    "progress": {
        "phase": "fetching",
        "bytes_done": 1_048_576,
        "bytes_total": 6_938_078_334,
        "percent": 0.0,
        "speed_bps": 88_000_000.0,
        "eta_s": 78.8,
        "files_done": 1,
        "files_total": 12,
    },
    "identified": None,
    "model": None,
    "error": None,
    "is_cancel_requested": False,
    "attempt": 1,
    "created_at": "2026-03-02T12:00:00.000000Z",
    "started_at": "2026-03-02T12:00:01.000000Z",
    "finished_at": None,
}
UPLOAD: Final = {"id": "f3b1c2d4e5a60718", "received_bytes": 0, "size_bytes": 2_132_650_982}
STREAM: Final = 'event: progress\ndata: {"phase":"fetching","bytes_done":1048576}\n\n'


def _import_schema() -> JsonSchema:
    """One of the sources is needed."""
    sources = {
        name: {"type": "string", "description": f"source: {kind.label}"} for name, kind in SOURCES.items()
    }
    fields: dict[str, Any] = {  # Any: JSON Schema
        name: schema_of_result(read) | {"description": meaning} for name, (_, read, meaning) in FIELDS.items()
    }
    return {
        "type": "object",
        "properties": sources | fields,
        "oneOf": [{"required": [name]} for name in SOURCES],
        "additionalProperties": False,
    }


def _import(meaning: str, *headers: str) -> Answer:
    return referring("ImportBody", meaning, IMPORT, *headers)


def _upload(meaning: str, *headers: str) -> Answer:
    return Answer(meaning=meaning, schema=shape_of(UPLOAD), example=UPLOAD, headers=headers)


SAID: Final[Mapping[tuple[type, str], Said]] = {
    (imports.ImportListView, "get"): Said(
        summary="Your imports",
        scope=Scope.MODELS_WRITE,
        parameters=query(LIST_PARAMETERS),
        answers={200: page_of("ImportBody", IMPORT)},
        refusals=(400, *READ),
    ),
    (imports.ImportListView, "post"): Said(
        summary="Bring in a model",
        description="From a repository, an address, an upload or a folder of the server.",
        scope=Scope.MODELS_WRITE,
        parameters=(IDEMPOTENCY,),
        body=_import_schema(),
        media_types=(JSON, FORM),
        examples={"from a hub": {"repository": "stabilityai/sdxl-turbo", "precision": "float16"}},
        answers={202: _import("Accepted.", "Location", "Idempotent-Replayed")},
        refusals=CHANGED,
    ),
    (imports.ImportView, "get"): Said(
        summary="One import",
        scope=Scope.MODELS_WRITE,
        answers={200: _import("As it is.")},
        refusals=FOUND,
    ),
    (imports.ImportView, "delete"): Said(
        summary="Cancel an import",
        scope=Scope.MODELS_WRITE,
        answers={200: _import("As it is now.")},
        refusals=(401, 403, 404, 409, 503),
    ),
    (imports.ImportCancelView, "post"): Said(
        summary="Cancel an import, for clients that cannot send DELETE",
        scope=Scope.MODELS_WRITE,
        parameters=(IDEMPOTENCY,),
        answers={200: _import("As it is now.", "Idempotent-Replayed")},
        refusals=(400, 401, 403, 404, 409, 503),
    ),
    (imports.ImportRetryView, "post"): Said(
        summary="Go on with an import from where it stopped",
        scope=Scope.MODELS_WRITE,
        parameters=(IDEMPOTENCY,),
        body={
            "type": "object",
            "properties": {
                "token": {"type": "string", "description": "credential for the source, when it wants one"}
            },
        },
        is_body_required=False,
        answers={202: _import("Accepted.", "Idempotent-Replayed")},
        refusals=CHANGED,
    ),
    (imports.ImportEventsView, "get"): Said(
        summary="The import's course as it happens",
        scope=Scope.MODELS_WRITE,
        parameters=(LAST_EVENT_ID,),
        answers=ok("Server-sent events.", media_type=EVENTS, schema={"type": "string"}, example=STREAM),
        refusals=FOUND,
    ),
    (imports.UploadListView, "post"): Said(
        summary="Begin an upload in pieces",
        scope=Scope.MODELS_WRITE,
        parameters=(IDEMPOTENCY,),
        body={
            "type": "object",
            "required": ["filename", "size_bytes"],
            "properties": {
                "filename": {"type": "string", "minLength": 1, "description": "the file's name"},
                "size_bytes": {"type": "integer", "minimum": 1, "description": "its length"},
            },
        },
        examples={"a file": {"filename": "fox.safetensors", "size_bytes": 2_132_650_982}},
        answers={201: _upload("Send the pieces with PUT.", "Idempotent-Replayed")},
        refusals=CHANGED,
    ),
    (imports.UploadView, "get"): Said(
        summary="How much of an upload has arrived",
        scope=Scope.MODELS_WRITE,
        answers={200: _upload("As it is.")},
        refusals=FOUND,
    ),
    (imports.UploadView, "put"): Said(
        summary="Send the next piece of an upload",
        scope=Scope.MODELS_WRITE,
        parameters=(
            Parameter(
                name="Content-Range",
                place="header",
                schema={"type": "string", "examples": ["bytes 0-8388607/2132650982"]},
                meaning="where the piece belongs",
                is_required=True,
            ),
        ),
        body={"type": "string", "format": "binary"},
        media_types=("application/octet-stream",),
        answers={200: _upload("With the piece.")},
        refusals=CHANGED,
    ),
}
