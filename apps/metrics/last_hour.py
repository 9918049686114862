"""How jobs of the last hour fared, kind by kind, from the minutes that housekeeping counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Sum

from apps.core.counters import INFINITY, bucket_label
from apps.generation.choices import JobState
from apps.metrics.job_rollup import BOUNDS
from apps.metrics.models import JobMinute

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
FAILURES: Final = frozenset({JobState.FAILED, JobState.QUARANTINED, JobState.EXPIRED})


@dataclass(slots=True)
class KindHour:
    """Jobs of one kind, or of all."""

    succeeded: int = 0
    failed: int = 0
    """Failed, quarantined or expired; canceled ones are nobody's fault and in neither."""
    images: int = 0
    buckets: dict[str, int] = field(default_factory=dict)
    """Succeeded jobs by the upper end of their time in seconds."""

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed

    @property
    def failed_share(self) -> float:
        """0 to 1; 0 without jobs."""
        return self.failed / self.ended if self.ended else 0.0

    @property
    def p50_s(self) -> float | None:
        return quantile_s(self.buckets, 0.5)

    @property
    def p95_s(self) -> float | None:
        return quantile_s(self.buckets, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHour:
    """Everything of the hour."""

    all: KindHour
    by_kind: Mapping[str, KindHour]
    """Those with the most jobs first."""


def last_hour(*, now: datetime) -> LastHour:
    """The sixty minutes before `now`; the last one or two are not counted yet."""
    rows = JobMinute.objects.filter(minute__gt=now - HOUR).values_list("kind", "state", "bucket")
    kinds: defaultdict[str, KindHour] = defaultdict(KindHour)
    together = KindHour()
    for kind, state, bucket, jobs, images in rows.annotate(n=Sum("jobs"), made=Sum("images")).order_by():
        for each in (kinds[kind], together):
            if state == JobState.SUCCEEDED:
                each.succeeded += jobs
                each.images += images
                each.buckets[bucket] = each.buckets.get(bucket, 0) + jobs
            elif state in FAILURES:
                each.failed += jobs
    ordered = sorted(kinds.items(), key=lambda item: (-item[1].ended, item[0]))
    return LastHour(all=together, by_kind=dict(ordered))


def count_quarantined(*, now: datetime) -> int:
    """Jobs of a day that crashed their workers."""
    recent = JobMinute.objects.filter(minute__gt=now - DAY, state=JobState.QUARANTINED)
    return recent.aggregate(n=Sum("jobs"))["n"] or 0


def quantile_s(buckets: Mapping[str, int], share: float) -> float | None:
    """Seconds within which that share ended, evenly spread within a bucket; None without any.

    What is beyond the last bound counts as that: then it is at least so much.
    """
    wanted = share * sum(buckets.values())
    if not wanted:
        return None
    below, lower = 0.0, 0.0
    for bound in BOUNDS:
        here = buckets.get(bucket_label(bound), 0)
        if here and below + here >= wanted:
            return lower + (bound - lower) * (wanted - below) / here
        below, lower = below + here, bound
    assert INFINITY in buckets
    return BOUNDS[-1]
