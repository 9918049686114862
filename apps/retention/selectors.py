"""What is due, what will be, and what should be gone and is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Min, QuerySet

from apps.artifacts.models import Artifact
from apps.generation.choices import TERMINAL_STATES
from apps.generation.forgetting import jobs_to_forget
from apps.generation.models import GenerationJob, JobPreview
from apps.webhooks.choices import DeliveryState
from apps.webhooks.models import Delivery

PATIENCE: Final = timedelta(minutes=2)
"""How late the sweep, which comes once a minute, may be before `find_overdue` tells of it."""


def count_due(*, until: datetime) -> Mapping[str, int]:
    """How many of each kind are due by `until`, by what they are called."""
    return {
        "images": Artifact.objects.filter(expires_at__lte=until).count(),
        "texts of jobs": jobs_to_forget(until=until).count(),
        "bodies of webhooks": _deliveries(until).count(),
    }


def lag_s(*, now: datetime) -> float:
    """Seconds that the oldest due row has waited for the sweep; 0 when nothing waits. By index."""
    oldest = [
        Artifact.objects.filter(expires_at__lte=now).aggregate(at=Min("expires_at"))["at"],
        jobs_to_forget(until=now).values_list("forget_at", flat=True).first(),
        _deliveries(now).aggregate(at=Min("expires_at"))["at"],
    ]
    return max(((now - at).total_seconds() for at in oldest if at is not None), default=0.0)


def find_overdue(*, now: datetime) -> Iterator[str]:
    """One line for each kind of which something is older than it may be. Looks at every forgotten job."""
    for name, count in count_due(until=now - PATIENCE).items():
        if count:
            yield f"{count} {name} should have been deleted by {now - PATIENCE:%Y-%m-%d %H:%M:%S} UTC"
    previews = JobPreview.objects.filter(job__state__in=TERMINAL_STATES).count()
    if previews:
        yield f"{previews} previews of jobs that have ended"
    # A row that was emptied and written again by a worker of an earlier version.
    written = GenerationJob.objects.filter(is_forgotten=True).exclude(request__prompt="")
    written = written.filter(request__has_key="prompt")
    if count := written.count():
        yield f"{count} forgotten jobs with a prompt"


def _deliveries(until: datetime) -> QuerySet[Delivery]:
    expired = Delivery.objects.filter(is_forgotten=False, expires_at__lte=until)
    # Left until its attempt, which would write an answer, is over.
    return expired.exclude(state=DeliveryState.SENDING)
