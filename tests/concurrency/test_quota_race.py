"""Eighty callers, one call left: one has it, in each of DARKROOM_DRILL_COUNT rounds.

The control shows that the race is real when the guard is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Barrier

import pytest
from django.db import transaction
from django.db.models import F

from apps.accounts.models import Account
from apps.quotas.errors import DailyQuotaExhausted
from apps.quotas.models import DailyUsage
from apps.quotas.services import reserve_calls
from tests.apps.generation.studio import PATIENCE_S
from tests.concurrency.racing import DRILL_S, Track
from tests.drills.counting import drill_count
from tests.factories import make_account

CALLERS = 80
LIMIT = 10
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ROUNDS = 1

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(DRILL_S)]


@pytest.fixture
def track(transactional_db: None) -> Iterator[Track]:
    with Track(CALLERS).open() as racers:
        yield racers


def _one_left(account: Account) -> None:
    DailyUsage.objects.create(account=account, day=NOW.date(), reserved=4, settled=LIMIT - 5)


def reserving(account: Account) -> Callable[[], None]:
    def reserve() -> None:
        with transaction.atomic():
            reserve_calls(account=account, count=1, limit=LIMIT, now=NOW)

    return reserve


def test_of_eighty_one_gets_the_last_call(track: Track) -> None:
    for number in range(drill_count(ROUNDS)):
        account = make_account(f"racer-{number}", now=NOW)
        _one_left(account)
        outcomes = track.race([reserving(account)] * CALLERS, DailyQuotaExhausted)
        assert outcomes == {None: 1, DailyQuotaExhausted: CALLERS - 1}
        row = DailyUsage.objects.get(account=account)
        assert (row.reserved, row.settled) == (5, 5)


def test_the_first_calls_of_a_day_share_one_row(track: Track) -> None:
    for number in range(drill_count(ROUNDS)):
        account = make_account(f"racer-{number}", now=NOW)
        outcomes = track.race([reserving(account)] * CALLERS, DailyQuotaExhausted)
        assert outcomes == {None: LIMIT, DailyQuotaExhausted: CALLERS - LIMIT}
        row = DailyUsage.objects.get(account=account)
        assert (row.reserved, row.settled) == (LIMIT, 0)


def test_control_reading_before_writing_lets_everybody_through(track: Track) -> None:
    account = make_account(now=NOW)
    _one_left(account)
    everybody_read = Barrier(CALLERS)

    def read_then_write() -> None:
        row = DailyUsage.objects.get(account=account)
        if row.reserved + row.settled >= LIMIT:
            raise DailyQuotaExhausted(limit=LIMIT, resets_at=NOW, now=NOW)
        # Everybody has read before anybody writes: the interleaving that the guard must survive.
        everybody_read.wait(PATIENCE_S)
        DailyUsage.objects.filter(account=account).update(reserved=F("reserved") + 1)

    assert track.race([read_then_write] * CALLERS, DailyQuotaExhausted) == {None: CALLERS}
    row = DailyUsage.objects.get()
    assert row.reserved + row.settled == LIMIT - 1 + CALLERS
