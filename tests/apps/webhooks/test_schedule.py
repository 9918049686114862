"""When a failed delivery is tried again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from apps.webhooks.schedule import retry_at

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DELAYS = (5, 60, 300)


def waits(attempts: int, **options: Any) -> float | None:
    fields: dict[str, Any] = {
        "begun_at": NOW,
        "now": NOW,
        "retry_after_s": None,
        "delays_s": DELAYS,
        "draw": random.Random(1),
    }
    due = retry_at(attempts=attempts, **(fields | options))
    return None if due is None else (due - NOW).total_seconds()


def test_each_delay_is_drawn_within_a_fifth_of_its_figure() -> None:
    draw = random.Random(7)
    for attempts, delay in enumerate(DELAYS, start=1):
        drawn = [waits(attempts, draw=draw) or 0.0 for _ in range(200)]
        assert delay * 0.8 <= min(drawn) < delay * 0.85
        assert delay * 1.15 < max(drawn) <= delay * 1.2


def test_after_the_last_delay_there_is_no_other() -> None:
    assert waits(3) is not None
    assert waits(4) is None


def test_a_receivers_own_wish_counts_where_it_is_longer_and_a_day_at_most() -> None:
    assert waits(1, retry_after_s=100.0) == 100.0
    assert 200 < (waits(3, retry_after_s=100.0) or 0) < 400
    assert waits(1, retry_after_s=10**9) == 86400.0


def test_wishes_do_not_stretch_a_delivery_without_end() -> None:
    long_ago = NOW - timedelta(days=1, seconds=sum(DELAYS) * 1.2)
    assert waits(2, begun_at=long_ago, retry_after_s=10.0) is None


def test_the_products_own_schedule_takes_three_days() -> None:
    delays = settings.WEBHOOK_RETRY_S
    assert list(delays) == sorted(delays)
    assert 2.9 < sum(delays) / 86400 < 3.1
