"""What a webhook of this dialect says: section 4.8 of the contract, `track_id` included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.modelslab import render
from apps.catalog.choices import ImportState
from apps.catalog.models import ModelImport
from apps.core import clock
from apps.generation.models import GenerationJob
from apps.generation.selectors import list_artifacts
from apps.webhooks.bodies import Event

LOADED: Final = "model loaded"
LOAD_CANCELED: Final = "The import was canceled."


def webhook_body(event: Event) -> Mapping[str, object]:
    """The job's end as `success` or `failed`; what a fetch calls `error` was always `failed` in webhooks."""
    if event.import_id is not None:
        return _import_body(ModelImport.objects.get(pk=event.import_id))
    assert event.job_id is not None  # tests have a body of their own
    job = GenerationJob.objects.get(pk=event.job_id)
    now = clock.now()
    artifacts = [artifact for artifact in list_artifacts(job) if artifact.expires_at > now]
    body = render.ended_body(job, artifacts)
    status = "success" if body["status"] == "success" else "failed"
    return {**body, "status": status, "track_id": job.track_id}


def _import_body(row: ModelImport) -> Mapping[str, object]:
    """Of a load endpoint: no page says what it is, so it is as near to a job's as it can be."""
    is_there = row.state == ImportState.SUCCEEDED
    message = LOADED if is_there else row.error_message or LOAD_CANCELED
    return {
        "status": "success" if is_there else "failed",
        "id": row.pk,
        "model_id": row.requested_name,
        "message": message,
        "messege": message,
        "track_id": row.options["webhook"]["track_id"],
    }
