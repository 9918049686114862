"""Deleting what a job delivered before its time is up."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import transaction

from apps.artifacts.models import Artifact
from apps.audit.refs import Ref
from apps.audit.services import record
from apps.core.errors import Conflict
from apps.generation.models import GenerationJob

DELETED_AT: Final = "deleted_at"
"""Key of `GenerationJob.result`: why a succeeded job has no images any more."""


def delete_images(*, job: GenerationJob, actor: Ref, now: datetime) -> int:
    """Rows first, then files; how many images there were. A second call finds none.

    Raises Conflict for a job that has not ended.
    """
    with transaction.atomic(durable=True):
        current = GenerationJob.objects.select_for_update().get(pk=job.pk)
        if not current.is_terminal:
            raise Conflict(
                problem=f"Request {job.pk} has not ended; cancel it, or delete its images once it has."
            )
        images = list(Artifact.objects.select_for_update().filter(job_id=job.pk))
        if images:
            Artifact.objects.filter(pk__in=[image.pk for image in images]).delete()
            current.result = {**current.result, DELETED_AT: now.isoformat()}
            current.save(update_fields=["result"])
            record(
                "generation.images.deleted",
                actor=actor,
                subject=current.ref,
                account_id=current.account_id,
                data={"images": len(images)},
                now=now,
            )
    for image in images:
        image.file_path.unlink(missing_ok=True)
    return len(images)
