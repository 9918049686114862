"""A year of pay-as-you-go with a Stripe that fails often: its meters hold what our ledger holds, exactly."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db.models import Sum

from apps.billing.choices import Source
from apps.billing.ledger.models import Hold
from apps.payments.calls.money import metered_micro
from apps.payments.choices import SendState
from apps.payments.connection import open_api
from apps.payments.metering import collect_usage, send_due_batches
from apps.payments.models import MeterBatch, StripeCustomer, StripeInvoice
from tests.apps.payments.stage import Stage
from tests.apps.payments.usage import use
from tests.fake_stripe.fake import Fake

MONTHS = 12
USES_A_MONTH = 6
FAULTS: list[Any] = ["500", "429", "timeout_after_commit", "reset"]
METER_EVENTS = "/v1/billing/meter_events"


def month_starts(begun: datetime) -> list[datetime]:
    """The first moments of the month in which it began and of those that follow, one more than there are."""
    first = begun.replace(day=1, hour=0, minute=0)
    return [
        first.replace(year=first.year + (first.month - 1 + n) // 12, month=(first.month - 1 + n) % 12 + 1)
        for n in range(MONTHS + 2)
    ]


def captured(stage: Stage) -> int:
    """By our ledger."""
    rows = Hold.objects.filter(account=stage.account, source=Source.PAYG)
    return rows.aggregate(total=Sum("captured_micro"))["total"] or 0


def on_meters(stage: Stage, since: datetime, until: datetime) -> int:
    """By Stripe's, asked through the client."""
    customer = StripeCustomer.objects.get(account=stage.account).customer_id or ""
    meter = stage.fake.store.every("billing.meter")[0]["id"]
    return metered_micro(open_api(), meter_id=meter, customer_id=customer, since=since, until=until)


def report(stage: Stage, dice: random.Random) -> None:
    """As the schedules do it, with a fault before every other request."""
    collect_usage(now=stage.now)
    if dice.random() < 0.5:
        stage.fake.fail_next(dice.choice(FAULTS), method="POST", path=METER_EVENTS)
    send_due_batches(now=stage.now)


def live_through(stage: Stage, dice: random.Random) -> dict[datetime, int]:
    """A year of usage; what our ledger had captured at the end of each month."""
    totals: dict[datetime, int] = {}
    for start, over in pairwise(month_starts(stage.now)[: MONTHS + 1]):
        gap = (over - max(start, stage.now)) / (USES_A_MONTH + 1)
        for _ in range(USES_A_MONTH):
            stage.pass_time(seconds=gap.total_seconds())
            job_id = Hold.objects.count() + 1
            use(
                stage.account,
                job_id=job_id,
                price_micro=dice.randrange(1, 9_999_999),
                now=stage.now,
                is_captured=True,
            )
            report(stage, dice)
        # The last hour of the month is for what failed.
        stage.pass_time(seconds=(over - stage.now - timedelta(hours=1)).total_seconds())
        while MeterBatch.objects.filter(state=SendState.WAITING).exists():
            stage.pass_time(minutes=2)
            send_due_batches(now=stage.now)
        totals[over] = captured(stage)
        stage.pass_time(seconds=(over - stage.now).total_seconds())
    return totals


@pytest.mark.slow
def test_meters_and_ledger_agree_over_a_year(stage: Stage) -> None:
    stage.add_card()
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    totals = live_through(stage, random.Random(12))
    stage.pass_time(days=32)
    assert len(totals) == MONTHS and captured(stage) == max(totals.values()) > 0
    differences = {over: total - on_meters(stage, begun, over) for over, total in totals.items()}
    assert set(differences.values()) == {0}
    assert sum(fault.times for fault in stage.fake.faults.planned) == 0
    require_invoices(stage, captured(stage))


def require_invoices(stage: Stage, used_micro: int) -> None:
    """All of it was billed and paid, each month rounded to a cent once."""
    paid = StripeInvoice.objects.filter(account=stage.account, status="paid")
    assert paid.exclude(paid_micro=0).count() >= MONTHS
    billed = paid.aggregate(total=Sum("paid_micro"))["total"] or 0
    assert abs(billed - used_micro) <= paid.count() * 5_000


def test_the_control_sees_an_event_counted_twice(stage: Stage, fake_stripe: Fake) -> None:
    """What the comparison would say of usage that reached the meter twice."""
    stage.add_card()
    use(stage.account, job_id=1, price_micro=1_234_567, now=stage.now, is_captured=True)
    collect_usage(now=stage.now)
    send_due_batches(now=stage.now)
    [event] = fake_stripe.store.every("billing.meter_event")
    fake_stripe.store.add(event | {"id": "meterevent_again"})
    stage.pass_time(hours=1)
    since = datetime(2026, 3, 1, tzinfo=UTC)
    assert on_meters(stage, since, since + timedelta(days=31)) - captured(stage) == 1_234_567
