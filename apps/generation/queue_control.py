"""What operators may do with the whole queue."""

from __future__ import annotations

from datetime import datetime

from apps.audit.refs import Ref
from apps.generation.choices import JobState
from apps.generation.errors import NotCancelable
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job


def clear_queue(*, actor: Ref, now: datetime) -> int:
    """Cancel every queued job of every account, each by itself as its owner would; returns how many."""
    count = 0
    for job in GenerationJob.objects.filter(state=JobState.QUEUED).order_by("pk").iterator():
        try:
            cancel_job(job=job, actor=actor, now=now)
        except NotCancelable:
            # It ended between our look and this one.
            continue
        count += 1
    return count
