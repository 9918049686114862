"""What an account made, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.accounts.models import Account
from apps.artifacts.models import Artifact
from apps.generation.models import GenerationJob
from apps.generation.sharing import NO_JOB


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One page."""

    items: Sequence[tuple[GenerationJob, Sequence[Artifact]]]
    """Jobs with their images, newest first."""
    total: int
    """Jobs with images on all pages."""


def list_made(*, account: Account, now: datetime, page: int, per_page: int) -> Made:
    """Jobs whose images can still be had; three queries."""
    alive = Artifact.objects.filter(account=account, expires_at__gt=now).exclude(job_id=NO_JOB)
    ids = alive.order_by("-job_id").values_list("job_id", flat=True).distinct()
    shown = list(ids[(page - 1) * per_page : page * per_page])
    images = defaultdict(list)
    for artifact in alive.filter(job_id__in=shown).order_by("index"):
        images[artifact.job_id].append(artifact)
    jobs = GenerationJob.objects.in_bulk(shown)
    return Made(items=[(jobs[pk], images[pk]) for pk in shown], total=ids.count())
