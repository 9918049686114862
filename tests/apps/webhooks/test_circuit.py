"""The circuit breaker: when attempts pause, for how long, and how it recovers; and who gets a place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from apps.core import clock as core_clock
from apps.webhooks.circuit import TRIP_AFTER, Health, Pauses, after_failure, places_of
from apps.webhooks.claiming import Due, Places, claim_due
from apps.webhooks.models import Delivery, Endpoint
from apps.webhooks.recording import Tried, record_attempts
from apps.webhooks.selectors import list_troubled_endpoints
from apps.webhooks.sending import Outcome
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast
from tests.clocks import FrozenClock

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PAUSES = Pauses(30, 3600)


def fail(health: Health, times: int, *, now: datetime = NOW) -> Health:
    for _ in range(times):
        health = after_failure(health, now=now, pauses=PAUSES)
    return health


def test_failures_in_a_row_open_it() -> None:
    assert fail(Health(), TRIP_AFTER - 1).paused_until is None
    assert fail(Health(), TRIP_AFTER) == Health(failures=5, trips=1, paused_until=NOW + timedelta(seconds=30))


def test_attempts_that_were_under_way_when_it_opened_do_not_lengthen_the_pause() -> None:
    assert fail(Health(), TRIP_AFTER + 3).paused_until == NOW + timedelta(seconds=30)


def test_each_failed_probe_doubles_the_pause_up_to_an_hour() -> None:
    health, now, pauses = fail(Health(), TRIP_AFTER), NOW, []
    for _ in range(9):
        assert health.paused_until is not None
        pauses.append((health.paused_until - now).total_seconds())
        now = health.paused_until
        health = fail(health, 1, now=now)
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_suspects_go_one_at_a_time() -> None:
    assert [places_of(failures=failures, places=4) for failures in range(4)] == [4, 4, 1, 1]


def test_places_are_limited_by_endpoint_by_account_and_in_all() -> None:
    places = Places(total=8, per_account=4, per_endpoint=2)
    taken = [
        places.take(Due(number, account, address, 0))
        for number, (account, address) in enumerate(
            [(1, "a")] * 3 + [(1, "b")] * 2 + [(1, "c")] + [(2, "a")] * 2 + [(3, "a")] * 2 + [(3, "b")]
        )
    ]
    assert taken == [True, True, False, True, True, False, True, True, True, True, False]
    assert places.free == 0


def attempt(error: str = "", status: int | None = 500) -> Outcome:
    return Outcome(started_at=core_clock.now(), duration_ms=1, status=status, error=error)


def try_all(**fields: Any) -> int:
    """Claim what is due and fail it; how many."""
    claimed = claim_due(deliverer="me", now=core_clock.now())
    record_attempts(
        [Tried(delivery=each, outcome=attempt(**fields)) for each in claimed], now=core_clock.now()
    )
    return len(claimed)


def test_what_is_due_at_a_paused_endpoint_waits_without_using_up_attempts(
    cast: Cast, clock: FrozenClock
) -> None:
    for _ in range(10):
        queue_row(cast.account)
    other = queue_row(cast.account, url="https://other.example/hook")
    while try_all(error="no"):
        pass
    [endpoint, _] = list_troubled_endpoints(account=cast.account)
    assert (endpoint.failures, endpoint.trips) == (5, 1)
    rows = Delivery.objects.filter(address="https://example.com/hook")
    assert sum(row.attempts for row in rows) == 5
    assert all(row.due_at > clock.now() for row in rows)
    assert Delivery.objects.get(pk=other.pk).attempts == 1

    clock.advance(seconds=36)
    [probe] = [each for each in claim_due(deliverer="me", now=clock.now()) if each.pk != other.pk]
    record_attempts([Tried(delivery=probe, outcome=attempt(status=200))], now=clock.now())

    assert Endpoint.objects.get(address="https://example.com/hook").failures == 0
    clock.advance(hours=1)
    assert len(claim_due(deliverer="me", now=clock.now())) == 4


def test_one_endpoint_with_thousands_due_does_not_hide_the_others(cast: Cast, clock: FrozenClock) -> None:
    first = queue_row(cast.account)
    copies = [
        Delivery(**{field.attname: getattr(first, field.attname) for field in Delivery._meta.fields})
        for _ in range(2000)
    ]
    for number, copy in enumerate(copies):
        copy.pk, copy.event_id = None, f"msg_{number}"
    Delivery.objects.bulk_create(copies)
    clock.advance(seconds=1)
    late = queue_row(cast.account, url="https://other.example/hook")

    claimed = claim_due(deliverer="me", now=clock.now())

    assert len(claimed) == 5
    assert late.pk in {delivery.pk for delivery in claimed}
