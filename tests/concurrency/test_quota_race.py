"""Eighty callers, one call left. The control shows that the race is real when the guard is off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Barrier, Thread

import pytest
from django.db import connection, transaction
from django.db.models import F

from apps.accounts.models import Account
from apps.quotas.errors import DailyQuotaExhausted
from apps.quotas.models import DailyUsage
from apps.quotas.services import reserve_calls
from tests.factories import make_account

CALLERS = 80
LIMIT = 10
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
GATE_S = 60

pytestmark = pytest.mark.django_db(transaction=True)


def _race(attempt: Callable[[Barrier], None]) -> tuple[int, list[BaseException]]:
    """Run `attempt` in every thread, each on a connection of its own; winners, and what else was raised."""
    gate = Barrier(CALLERS)
    won: list[bool] = []
    faults: list[BaseException] = []

    def caller() -> None:
        try:
            connection.ensure_connection()
            gate.wait(GATE_S)
            attempt(gate)
            won.append(True)
        except DailyQuotaExhausted:
            won.append(False)
        except BaseException as fault:  # noqa: BLE001  # a thread's failure must reach the test
            faults.append(fault)
        finally:
            connection.close()

    threads = [Thread(target=caller) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(won), faults


def _one_left(account: Account) -> None:
    DailyUsage.objects.create(account=account, day=NOW.date(), reserved=4, settled=LIMIT - 5)


def test_of_eighty_one_gets_the_last_call() -> None:
    account = make_account(now=NOW)
    _one_left(account)

    def reserve(gate: Barrier) -> None:
        with transaction.atomic():
            reserve_calls(account=account, count=1, limit=LIMIT, now=NOW)

    assert _race(reserve) == (1, [])
    row = DailyUsage.objects.get()
    assert (row.reserved, row.settled) == (5, 5)


def test_the_first_calls_of_a_day_share_one_row() -> None:
    account = make_account(now=NOW)

    def reserve(gate: Barrier) -> None:
        with transaction.atomic():
            reserve_calls(account=account, count=1, limit=LIMIT, now=NOW)

    assert _race(reserve) == (LIMIT, [])
    row = DailyUsage.objects.get()
    assert (row.reserved, row.settled) == (LIMIT, 0)


def test_control_reading_before_writing_lets_everybody_through() -> None:
    account = make_account(now=NOW)
    _one_left(account)

    def read_then_write(gate: Barrier) -> None:
        row = DailyUsage.objects.get(account=account)
        if row.reserved + row.settled >= LIMIT:
            raise DailyQuotaExhausted(limit=LIMIT, resets_at=NOW, now=NOW)
        # Everybody has read before anybody writes: the interleaving that the guard must survive.
        gate.wait(GATE_S)
        DailyUsage.objects.filter(account=account).update(reserved=F("reserved") + 1)

    assert _race(read_then_write) == (CALLERS, [])
    row = DailyUsage.objects.get()
    assert row.reserved + row.settled == LIMIT - 1 + CALLERS
