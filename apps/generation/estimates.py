"""What a request would take and cost, without submitting it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.generation.charges import Charge, foreseen
from apps.generation.queueing import queue_tag
from apps.generation.request import GenerationRequest
from apps.generation.selectors import estimate_new_s
from apps.generation.services import job_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Charge):
    """Of one request, as things stand."""

    seconds: float
    """Until it would be done, the queue included."""


def estimate(*, account: Account, api_key: ApiKey, request: GenerationRequest, now: datetime) -> Estimate:
    """Reserves nothing. Raises as `submit_generation` does, but for quota and queue."""
    job = job_for(account=account, api_key=api_key, request=request, now=now)
    job.queue_tag = queue_tag(job)
    return Estimate(seconds=estimate_new_s(job=job, now=now), **asdict(foreseen(job.resolved)))
