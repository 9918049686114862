from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from apps.core.clock import day_end, now, quota_day, seconds_until

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_now_is_aware() -> None:
    assert now().tzinfo is not None


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        (datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC), "UTC", date(2026, 3, 2)),
        (datetime(2026, 3, 3, 0, 0, 0, tzinfo=UTC), "UTC", date(2026, 3, 3)),
        (datetime(2026, 3, 2, 14, 59, 59, tzinfo=UTC), "Asia/Tokyo", date(2026, 3, 2)),
        (datetime(2026, 3, 2, 15, 0, 0, tzinfo=UTC), "Asia/Tokyo", date(2026, 3, 3)),
    ],
)
def test_the_day_is_the_accounts_own(moment: datetime, zone: str, day: date) -> None:
    assert quota_day(moment, zone=zone) == day


@pytest.mark.parametrize(
    ("day", "zone", "end"),
    [
        (date(2026, 3, 2), "UTC", datetime(2026, 3, 3, tzinfo=UTC)),
        (date(2026, 3, 2), "Asia/Tokyo", datetime(2026, 3, 2, 15, tzinfo=UTC)),
        # The days on which clocks change have 23 and 25 hours.
        (date(2026, 3, 29), "Europe/Berlin", datetime(2026, 3, 29, 22, tzinfo=UTC)),
        (date(2026, 10, 25), "Europe/Berlin", datetime(2026, 10, 25, 23, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_day_is_its_next_midnight(day: date, zone: str, end: datetime) -> None:
    assert day_end(day, zone=zone) == end


@pytest.mark.parametrize(("ahead_s", "seconds"), [(0, 0), (-5, 0), (1, 1), (1.01, 2), (0.001, 1)])
def test_seconds_until_are_rounded_up_and_never_negative(ahead_s: float, seconds: int) -> None:
    assert seconds_until(NOON + timedelta(seconds=ahead_s), now=NOON) == seconds
