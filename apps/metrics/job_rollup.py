"""Counts ended jobs by the minute, and into the totals of `/metrics`: each once, whoever runs this how often.

A minute or two behind, like the use counts of the catalogue, whose way not to read old jobs again it shares.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from apps.core.counters import INFINITY, Key, bucket_label, counter, histogram
from apps.generation.choices import JobState
from apps.generation.usage_rollup import SETTLED_AFTER, first_uncounted
from apps.metrics.models import JobMinute, RollupMark
from apps.metrics.storing import add

KEEP_MINUTES: Final = timedelta(days=2)
BOUNDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)

ENDED: Final = counter(
    "darkroom_jobs_ended_total", "Generation jobs that ended, by kind, tier and end.", "kind", "tier", "state"
)
IMAGES: Final = counter(
    "darkroom_images_delivered_total", "Images of succeeded jobs, by kind and tier.", "kind", "tier"
)
WAITED: Final = counter(
    "darkroom_job_queue_wait_seconds_total",
    "Time that ended jobs waited for a worker, all together.",
    "kind",
    "tier",
)
DURATION: Final = histogram(
    "darkroom_job_duration_seconds",
    "From acceptance to the end of jobs that succeeded.",
    "kind",
    "tier",
    bounds=BOUNDS,
)
JOB_SERIES: Final = (ENDED, IMAGES, WAITED, DURATION)

ENDED_JOBS: Final = """
SELECT date_trunc('minute', finished_at), kind, tier, state, bucket, count(*),
       sum(CASE WHEN state = 'succeeded' THEN num_images ELSE 0 END), sum(seconds), sum(waited)
  FROM (SELECT finished_at, kind, COALESCE(request ->> 'tier', 'standard') AS tier, state, num_images,
               took.seconds, took.waited,
               (SELECT count(*) FROM unnest(%(bounds)s::float8[]) AS bound
                 WHERE bound < took.seconds) AS bucket
          FROM generation_generationjob AS job,
               LATERAL (SELECT EXTRACT(epoch FROM job.finished_at - job.queued_at)::float8 AS seconds,
                               EXTRACT(epoch FROM COALESCE(job.claimed_at, job.finished_at)
                                                  - job.queued_at)::float8 AS waited) AS took
         WHERE id >= %(first)s AND finished_at > %(after)s AND finished_at <= %(until)s) AS ended
 GROUP BY 1, 2, 3, 4, 5
"""
ADD_MINUTES: Final = """
INSERT INTO metrics_jobminute (minute, kind, tier, state, bucket, jobs, images, seconds, wait_seconds)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (minute, kind, tier, state, bucket) DO UPDATE
   SET jobs = metrics_jobminute.jobs + EXCLUDED.jobs, images = metrics_jobminute.images + EXCLUDED.images,
       seconds = metrics_jobminute.seconds + EXCLUDED.seconds,
       wait_seconds = metrics_jobminute.wait_seconds + EXCLUDED.wait_seconds
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that ended alike; the columns of ENDED_JOBS."""

    minute: datetime
    kind: str
    tier: str
    state: str
    bucket: str
    jobs: int
    images: int
    seconds: float
    wait_seconds: float


def roll_up_jobs(*, now: datetime) -> int:
    """Count jobs that ended since the last run and at least a minute ago; how many there were."""
    until = now - SETTLED_AFTER
    with transaction.atomic(durable=True):
        # Totals begin with the first run: years of jobs before it would keep housekeeping for minutes.
        RollupMark.objects.get_or_create(pk=1, defaults={"counted_until": now - KEEP_MINUTES})
        mark = RollupMark.objects.select_for_update().get(pk=1)
        if until <= mark.counted_until:
            return 0
        groups = _ended(mark, until)
        _keep_minutes(groups, since=now - KEEP_MINUTES)
        add(_totals(groups), now=now)
        mark.counted_until, mark.first_open_id = until, first_uncounted(mark.first_open_id, until)
        mark.save(update_fields=["counted_until", "first_open_id"])
    return sum(group.jobs for group in groups)


def prune_minutes(*, now: datetime) -> int:
    """Delete minutes that no page asks for any more; totals keep them."""
    return JobMinute.objects.filter(minute__lt=now - KEEP_MINUTES).delete()[0]


def _ended(mark: RollupMark, until: datetime) -> list[Group]:
    names = [*map(bucket_label, BOUNDS), INFINITY]
    with connection.cursor() as cursor:
        cursor.execute(
            ENDED_JOBS,
            {
                "bounds": list(BOUNDS),
                "first": mark.first_open_id,
                "after": mark.counted_until,
                "until": until,
            },
        )
        rows = cursor.fetchall()
    return [Group(*(*row[:4], names[row[4]], *row[5:])) for row in rows]


def _keep_minutes(groups: Sequence[Group], *, since: datetime) -> None:
    rows = [astuple(group) for group in groups if group.minute >= since]
    with connection.cursor() as cursor:
        cursor.executemany(ADD_MINUTES, rows)


def _totals(groups: Sequence[Group]) -> dict[Key, float]:
    """What the totals grow by."""
    totals: defaultdict[Key, float] = defaultdict(float)
    for group in groups:
        which = (group.kind, group.tier)
        totals[ENDED.name, (*which, group.state)] += group.jobs
        totals[WAITED.name, which] += group.wait_seconds
        if group.state == JobState.SUCCEEDED:
            totals[IMAGES.name, which] += group.images
            totals[DURATION.name, (*which, group.bucket)] += group.jobs
            totals[DURATION.sum_name, which] += group.seconds
    return dict(totals)
