"""What a webhook of this dialect says: section 4.8 of the contract, `track_id` included."""

from __future__ import annotations

from collections.abc import Mapping

from apps.api.modelslab import render
from apps.core import clock
from apps.generation.models import GenerationJob
from apps.generation.selectors import list_artifacts
from apps.webhooks.bodies import Event


def webhook_body(event: Event) -> Mapping[str, object]:
    """The job's end as `success` or `failed`; what a fetch calls `error` was always `failed` in webhooks."""
    assert event.job_id is not None  # tests have a body of their own
    job = GenerationJob.objects.get(pk=event.job_id)
    now = clock.now()
    artifacts = [artifact for artifact in list_artifacts(job) if artifact.expires_at > now]
    body = render.ended_body(job, artifacts)
    status = "success" if body["status"] == "success" else "failed"
    return {**body, "status": status, "track_id": job.track_id}
