"""How often entries were used: added up in bulk, so that no job ever waits for a popular model's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce, Greatest

from apps.catalog.models import CatalogEntry, UsageWatermark
from apps.core.db import require_transaction

BATCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """New uses of one entry."""

    count: int
    last_at: datetime


def lock_watermark(*, start: datetime) -> UsageWatermark:
    """Part: the one row that says how far uses are counted, locked; made with `start` at first."""
    require_transaction()
    UsageWatermark.objects.get_or_create(pk=1, defaults={"counted_until": start})
    return UsageWatermark.objects.select_for_update().get(pk=1)


def add_uses(uses: Mapping[int, Uses]) -> int:
    """Part: add uses by entry's primary key, 500 entries an UPDATE; returns how many entries there were."""
    require_transaction()
    keys = sorted(uses)
    changed = 0
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        counts = Case(*(When(pk=key, then=Value(uses[key].count)) for key in batch))
        moments = Case(*(When(pk=key, then=Value(uses[key].last_at)) for key in batch))
        changed += CatalogEntry.objects.filter(pk__in=batch).update(
            use_count=F("use_count") + counts,
            last_used_at=Greatest(Coalesce(F("last_used_at"), moments), moments),
        )
    return changed
