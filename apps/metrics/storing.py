"""The table that all processes' counts meet in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import Q

from apps.core import clock
from apps.core.counters import Key, Taken
from apps.metrics.models import Sample

FRESH: Final = timedelta(seconds=60)
"""State of a process that has been silent for longer says nothing any more."""
PRUNE_AFTER: Final = timedelta(hours=1)
EVERYBODY: Final = ""

# In the order of the constraint: processes that write the same rows never wait for each other in a circle.
UPSERT: Final = """
INSERT INTO metrics_sample (process, series, labels, value, updated_at)
SELECT %(process)s, given.series, given.labels, given.value, %(now)s
  FROM unnest(%(series)s::text[], %(labels)s::text[], %(values)s::float8[]) AS given (series, labels, value)
 ORDER BY given.series, given.labels
    ON CONFLICT (process, series, labels) DO UPDATE SET updated_at = EXCLUDED.updated_at, value =
"""
ADD: Final = UPSERT + "metrics_sample.value + EXCLUDED.value"
REPLACE: Final = UPSERT + "EXCLUDED.value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One stored value, as it is read."""

    process: str
    series: str
    labels: tuple[str, ...]
    value: float


def store_taken(taken: Taken, process: str) -> None:
    """settings.COUNTERS_STORE: totals grow by what is new, gauges are the process's own. Two statements."""
    add(taken.added, now=clock.now())
    replace(taken.present, process=process, now=clock.now())


def add(amounts: Mapping[Key, float], *, now: datetime) -> None:
    """Let totals grow; in the caller's transaction if there is one."""
    _write(ADD, amounts, EVERYBODY, now)


def replace(values: Mapping[Key, float], *, process: str = EVERYBODY, now: datetime) -> None:
    """Say how things stand now."""
    _write(REPLACE, values, process, now)


def _write(statement: str, values: Mapping[Key, float], process: str, now: datetime) -> None:
    if not values:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                "process": process,
                "series": [name for name, _ in values],
                "labels": [_text(labels) for _, labels in values],
                "values": list(values.values()),
                "now": now,
            },
        )


def _text(labels: tuple[str, ...]) -> str:
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))


def list_stored(*, now: datetime, series: frozenset[str] | None = None) -> list[Stored]:
    """Totals, and the state of processes that live; of some series or of all. One query."""
    rows = Sample.objects.filter(Q(process=EVERYBODY) | Q(updated_at__gt=now - FRESH))
    if series is not None:
        rows = rows.filter(series__in=series)
    return [
        Stored(process=process, series=name, labels=tuple(json.loads(labels)), value=value)
        for process, name, labels, value in rows.order_by("series", "labels", "process").values_list(
            "process", "series", "labels", "value"
        )
    ]


def forget(series: str, *, keep: frozenset[tuple[str, ...]] = frozenset()) -> None:
    """Drop what everybody's gauge says of things that there are no more."""
    gone = Sample.objects.filter(process=EVERYBODY, series=series)
    gone.exclude(labels__in=[_text(labels) for labels in keep]).delete()


def prune(*, now: datetime) -> int:
    """Delete the state of processes that have ended; how many rows."""
    old = Sample.objects.exclude(process=EVERYBODY).filter(updated_at__lt=now - PRUNE_AFTER)
    return old.delete()[0]
