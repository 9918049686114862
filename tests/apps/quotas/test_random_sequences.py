from __future__ import annotations

from contextlib import suppress

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.quotas.errors import DailyQuotaExhausted, ReservationMissing
from apps.quotas.models import DailyUsage
from apps.quotas.services import release_calls, reserve_calls, settle_calls
from tests.cast import Cast
from tests.clocks import FrozenClock

LIMIT = 5
STEPS = st.lists(st.tuples(st.sampled_from(["reserve", "settle", "release"]), st.integers(1, 3)), max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_sequence_counts_like_two_plain_numbers(
    cast: Cast, clock: FrozenClock, steps: list[tuple[str, int]]
) -> None:
    DailyUsage.objects.all().delete()
    reserved = settled = 0
    day = clock.now().date()
    for step, count in steps:
        with suppress(DailyQuotaExhausted, ReservationMissing), transaction.atomic():
            if step == "reserve":
                reserve_calls(account=cast.account, count=count, limit=LIMIT, now=clock.now())
                reserved += count
            elif step == "settle":
                settle_calls(account_id=cast.account.pk, day=day, count=count)
                reserved, settled = reserved - count, settled + count
            else:
                release_calls(account_id=cast.account.pk, day=day, count=count)
                reserved -= count
        assert reserved >= 0 and reserved + settled <= LIMIT
    row = DailyUsage.objects.filter(account=cast.account).first()
    assert (reserved, settled) == ((row.reserved, row.settled) if row else (0, 0))
