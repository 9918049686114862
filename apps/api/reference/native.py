"""The native API in the reference, with what belongs to no dialect: health, and links to images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.api import health
from apps.api.native.imports_render import ImportBody
from apps.api.native.keys_render import IssuedKeyBody, KeyBody, UsageBody
from apps.api.native.models_render import ModelSummary
from apps.api.native.render import JobBody, JobSummary, UploadBody
from apps.api.native.webhooks_render import DeliveryBody, DeliveryDetail, EndpointBody, SecretBody
from apps.api.reference import native_account as account
from apps.api.reference import native_imports as imports
from apps.api.reference import native_jobs as jobs
from apps.api.reference import native_models as models
from apps.api.reference.operations import PNG, TEXT, Answer, Said, ok
from apps.api.reference.refusals import NATIVE
from apps.api.reference.routes import Route
from apps.api.reference.shapes import shape_of
from apps.api.reference.typed import schema_of
from apps.artifacts import views as artifact_views
from apps.catalog import views as preview_views
from apps.generation.estimates import Estimate

TAG_SERVER: Final = "Server and files"
TAGS: Final[Mapping[str, str]] = {
    jobs.TAG: "Ask for images of any kind, follow them, fetch them.",
    models.TAG: "What there is to generate with.",
    imports.TAG: "Bring in models from hubs, addresses and files.",
    account.TAG_WEBHOOKS: "The log of deliveries, replays, tests, the signing secret.",
    account.TAG_KEYS: "Keys of the account, and what it has used.",
    TAG_SERVER: "Whether the server is there, and the files that answers link to. No key is needed.",
}
READY: Final = {
    "status": "ok",
    "checks": {
        "database": "ok",
        "migrations": "ok",
        "prices": "ok",
        "gpu_worker": {"state": "ready", "device": "cuda:0", "reason": "bf16", "runtime": "torch"},
    },
}
_GONE: Final = Answer(
    meaning="No such file, or no longer.",
    schema=shape_of({"status": "", "message": "", "messege": ""}),
    example={"status": "error", "message": "The image was not found.", "messege": "The image was not found."},
)
_FILE: Final = Answer(meaning="The file.", media_type=PNG, schema={"type": "string"}, headers=("ETag",))
_UNCHANGED: Final = Answer(meaning="You have it already.", headers=("ETag",))
SAID_SERVER: Final[Mapping[Any, Said]] = {
    health.healthz: Said(
        summary="This process answers",
        answers=ok("It does.", schema=shape_of({"status": "ok"}), example={"status": "ok"}),
        is_public=True,
    ),
    health.readyz: Said(
        summary="A request would be accepted and worked on",
        answers={
            200: Answer(meaning="It would.", schema=shape_of(READY), example=READY),
            503: Answer(
                meaning="It would not; the checks say why.",
                schema=shape_of(READY),
                example={**READY, "status": "unavailable"},
            ),
        },
        is_public=True,
    ),
    artifact_views.serve: Said(
        summary="An image, by the signed link of an answer",
        description="Take links from answers as they are; the extension `base64` gives the file as text.",
        answers={200: _FILE, 304: _UNCHANGED, 404: _GONE},
        is_public=True,
    ),
    preview_views.preview: Said(
        summary="A model's preview, by the link in its page",
        answers={
            200: _FILE,
            304: _UNCHANGED,
            404: Answer(
                meaning="No such file.", media_type=TEXT, schema={"type": "string"}, example="Not found."
            ),
        },
        is_public=True,
    ),
}
_TABLES: Final = (
    (jobs.TAG, jobs.SAID),
    (models.TAG, models.SAID),
    (imports.TAG, imports.SAID),
    (account.TAG_WEBHOOKS, account.SAID_WEBHOOKS),
    (account.TAG_KEYS, account.SAID_KEYS),
)


def describe(route: Route, method: str) -> tuple[str, Said] | None:
    """Tag, and what is said."""
    if route.view in SAID_SERVER:
        return TAG_SERVER, SAID_SERVER[route.view]
    for tag, table in _TABLES:
        said = table.get((route.view, method))
        if said is not None:
            return tag, said
    return None


def schemas() -> dict[str, Any]:
    """What answers are made of; Any: JSON Schema."""
    types = (
        JobBody,
        JobSummary,
        UploadBody,
        Estimate,
        ModelSummary,
        ImportBody,
        DeliveryBody,
        DeliveryDetail,
        EndpointBody,
        SecretBody,
        KeyBody,
        IssuedKeyBody,
        UsageBody,
    )
    # An operator reads more of a model than this.
    model = {"description": "A model with all that its reader may know.", **shape_of(models.MODEL)}
    summary = schema_of(ModelSummary)["properties"]
    model["properties"] |= {name: summary[name] for name in ("last_used_at", "created_at")}
    return {each.__name__: schema_of(each) for each in types} | {"Model": model}


DIALECT: Final = NATIVE
