"""Counts succeeded jobs into the use counts of what they used: checkpoints, LoRAs, embeddings, autoencoders.

Each job once, however often and by however many processes this runs. A count may be a minute or two behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Min, Q

from apps.catalog.usage import Uses, add_uses, lock_watermark
from apps.generation.choices import JobState
from apps.generation.models import GenerationJob

# A job's end is dated before its transaction commits: later than this nobody commits any more.
SETTLED_AFTER: Final = timedelta(seconds=60)
EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def count_uses(*, now: datetime) -> int:
    """Add the uses of jobs that ended since the last run and at least a minute ago; returns how many jobs."""
    until = now - SETTLED_AFTER
    with transaction.atomic(durable=True):
        mark = lock_watermark(start=EPOCH)
        if until <= mark.counted_until:
            return 0
        recent = GenerationJob.objects.filter(pk__gte=mark.first_open_id)
        ended = recent.filter(
            state=JobState.SUCCEEDED, finished_at__gt=mark.counted_until, finished_at__lte=until
        )
        rows = ended.values_list("checkpoint_id", "request__adapters", "finished_at")
        uses, count = _uses(rows.iterator(chunk_size=2000))
        add_uses(uses)
        mark.counted_until, mark.first_open_id = until, first_uncounted(mark.first_open_id, until)
        mark.save(update_fields=["counted_until", "first_open_id"])
    return count


def first_uncounted(first_id: int, until: datetime) -> int:
    """No job before this one can still end after `until`: the next run reads from there, by primary key."""
    recent = GenerationJob.objects.filter(pk__gte=first_id)
    # Ids are given out in order but become visible in any: what was queued within the last minute may still
    # be joined by a smaller one.
    late = recent.filter(Q(finished_at=None) | Q(finished_at__gt=until) | Q(queued_at__gt=until))
    first_late = late.aggregate(first=Min("pk"))["first"]
    settled = recent.filter(queued_at__lte=until).order_by("-pk").values_list("pk", flat=True).first()
    behind_settled = first_id if settled is None else settled + 1
    return behind_settled if first_late is None else min(first_late, behind_settled)


def _uses(rows: Iterable[tuple[int, Any, datetime | None]]) -> tuple[dict[int, Uses], int]:
    """Uses by entry, and how many jobs there were."""
    jobs = 0
    counts: defaultdict[int, int] = defaultdict(int)
    last: dict[int, datetime] = {}
    for checkpoint_id, adapters, finished_at in rows:
        assert finished_at is not None  # a constraint: no job succeeds without
        jobs += 1
        used = {checkpoint_id} - {None}
        for entry_id in {*used, *_adapter_ids(adapters)}:
            counts[entry_id] += 1
            last[entry_id] = max(last.get(entry_id, finished_at), finished_at)
    return {key: Uses(count=counts[key], last_at=last[key]) for key in counts}, jobs


def _adapter_ids(adapters: Any) -> list[int]:
    """Entry ids in a stored request's adapters; Any: JSON, None in rows from before there were adapters."""
    if not adapters:
        return []
    used = [*adapters["loras"], *adapters["embeddings"], *([adapters["vae"]] if adapters["vae"] else [])]
    return [each["entry_id"] for each in used]
