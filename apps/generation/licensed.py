"""Which devices the installed licence covers: as many as it names, the longest known first."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from apps.generation.models import GpuWorker
from apps.plans.licensing import device_limit

BEYOND_LICENCE = (
    "the licence covers no more devices than {limit}, and others were here first: this one takes no jobs"
)


def workers_beyond_licence(*, now: datetime) -> dict[str, str]:
    """Names of live workers that take no jobs, each with the reason; none where their number is free.

    A device that falls silent makes room after its lease. One query, two where devices are limited.
    """
    limit = device_limit(now=now)
    if limit is None:
        return {}
    alive = GpuWorker.objects.filter(heartbeat_at__gt=now - timedelta(seconds=settings.LEASE_S))
    names = alive.exclude(state="stopped").order_by("pk").values_list("name", flat=True)[limit:]
    return dict.fromkeys(names, BEYOND_LICENCE.format(limit=limit))
