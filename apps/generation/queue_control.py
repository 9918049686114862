"""What operators may do with the whole queue, and with the workers that serve it."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.generation.channels import notify_restart
from apps.generation.choices import JobState
from apps.generation.errors import NotCancelable
from apps.generation.models import GenerationJob, GpuWorker
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


def restart_workers(*, actor: Ref, now: datetime) -> int:
    """Let every worker finish what it runs, hand back what takes too long, and begin anew; how many.

    A message is enough: a worker that does not hear it is one that has just begun.
    """
    with transaction.atomic(durable=True):
        workers = [
            each for each in GpuWorker.objects.all() if each.is_fresh(now=now, lease_s=settings.LEASE_S)
        ]
        for worker in workers:
            audit.record(
                "generation.worker.restarted", actor=actor, subject=worker.ref, account_id=None, now=now
            )
        notify_restart()
    return len(workers)
