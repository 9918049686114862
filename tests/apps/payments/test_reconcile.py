"""Whether our books and Stripe's agree: they do, and when they do not, it is said which case."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from django.core.management import CommandError, call_command

from apps.billing.ledger.choices import Place
from apps.billing.ledger.selectors import trial_balance
from apps.mails.models import Mail
from apps.payments.errors import PaymentsNotConfigured, PaymentsUnavailable
from apps.payments.metering import collect_usage, send_due_batches
from apps.payments.models import MeterBatch, Payment, ReconcileReport
from apps.payments.reconcile import reconcile, reconcile_yesterday
from apps.payments.refunds import refund_payment_by_customer
from tests.apps.payments.stage import Stage, usd
from tests.apps.payments.test_top_up import start
from tests.apps.payments.usage import use
from tests.clocks import FrozenClock
from tests.fake_stripe.visitor import Visitor


def a_busy_day(stage: Stage) -> None:
    """A plan, a top-up, a part of it back, and usage on credit."""
    stage.subscribe(stage.sell("standard", 47))
    stage.top_up(20)
    top_up = Payment.objects.get(net_micro=usd(20))
    refund_payment_by_customer(
        account=stage.account,
        payment_id=top_up.pk,
        amount_micro=usd(5),
        actor=stage.cast.ada.ref,
        token="refund-token-1",
        now=stage.now,
    )
    stage.add_card()
    use(stage.account, job_id=1, price_micro=1_234_567, now=stage.now, is_captured=True)
    collect_usage(now=stage.now)
    send_due_batches(now=stage.now)
    stage.deliver()
    stage.pass_time(days=1)


def test_a_day_agrees(stage: Stage) -> None:
    a_busy_day(stage)
    report = reconcile(day=stage.now.date() - timedelta(days=1), now=stage.now)
    sums = {line["name"]: (line["ours_micro"], line["stripes_micro"]) for line in report.lines}
    assert sums == {
        "top-ups": (usd(20), usd(20)),
        "refunds": (usd(5), usd(5)),
        "disputes": (0, 0),
        "plan invoices": (usd(47), usd(47)),
        "usage invoices": (0, 0),
        "usage in batches": (1_234_567, 1_234_567),
        "batches on meters": (1_234_567, 1_234_567),
    }
    assert report.difference_micro == 0
    assert not Mail.objects.filter(template="payments_books_differ").exists()


@pytest.mark.parametrize("is_won", [True, False])
def test_a_dispute_agrees_with_its_fees(stage: Stage, is_won: bool) -> None:
    stage.top_up(20)
    dispute = stage.fake.dispute(Payment.objects.get().intent_id or "")
    stage.deliver()
    assert trial_balance()[Place.FEES] == -usd(15)
    stage.pass_time(days=2)
    stage.fake.close_dispute(dispute["id"], won=is_won)
    stage.deliver()
    stage.pass_time(days=1)
    report = reconcile(day=stage.now.date() - timedelta(days=1), now=stage.now)
    taken = 0 if is_won else usd(35)
    lines = {line["name"]: line for line in report.lines}
    assert (lines["disputes"]["ours_micro"], lines["disputes"]["stripes_micro"]) == (taken, taken)
    assert report.difference_micro == 0
    # Of a dispute that is won the fake's Stripe gives its fee back.
    assert trial_balance()[Place.FEES] == (0 if is_won else -usd(15))


def test_a_dispute_nobody_told_of_is_named(stage: Stage) -> None:
    stage.top_up(20)
    dispute = stage.fake.dispute(Payment.objects.get().intent_id or "")
    stage.fake.take_webhooks()
    report = reconcile(day=stage.now.date(), now=stage.now)
    [line] = [line for line in report.lines if line["name"] == "disputes"]
    assert list(line["cases"]) == [f"{dispute['id']}: $0.00 here, $35.00 at Stripe"]


def test_a_difference_is_named_and_operators_hear_of_it(stage: Stage) -> None:
    a_busy_day(stage)
    MeterBatch.objects.update(value_micro=1_234_566)
    report = reconcile(day=stage.now.date() - timedelta(days=1), now=stage.now)
    assert report.difference_micro == 2
    wrong = {line["name"]: line["cases"] for line in report.lines if line["difference_micro"]}
    assert list(wrong) == ["usage in batches", "batches on meters"]
    assert "$1.234567" in wrong["batches on meters"][0]
    mail = Mail.objects.get(template="payments_books_differ")
    assert mail.to == ["otto@example.com"] and "$0.000002" in mail.subject


def test_money_that_never_reached_us_is_found(stage: Stage) -> None:
    """Every message was lost."""
    Visitor(stage.fake).pay(start(stage))
    stage.fake.take_webhooks()
    stage.clock.advance(days=1)
    report = reconcile(day=stage.now.date() - timedelta(days=1), now=stage.now)
    assert report.difference_micro == usd(20)


def test_yesterday_is_compared_once(stage: Stage) -> None:
    a_busy_day(stage)
    assert reconcile_yesterday(now=stage.now) == 1
    assert reconcile_yesterday(now=stage.now) == 0
    assert ReconcileReport.objects.get().day == stage.now.date() - timedelta(days=1)


def test_the_night_belongs_to_the_day_before(stage: Stage) -> None:
    """Until two in the morning the day that has just ended may not be complete."""
    midnight = datetime.combine(stage.now.date(), time(1, 59), tzinfo=UTC)
    reconcile_yesterday(now=midnight)
    assert ReconcileReport.objects.get().day == stage.now.date() - timedelta(days=2)


def test_half_a_comparison_is_none(stage: Stage) -> None:
    a_busy_day(stage)
    stage.fake.fail_next("500", method="GET", path="/v1/refunds")
    with pytest.raises(PaymentsUnavailable):
        reconcile(day=stage.now.date() - timedelta(days=1), now=stage.now)
    assert ReconcileReport.objects.count() == 0


def test_without_keys_there_is_nothing_to_compare(db: None, clock: FrozenClock) -> None:
    assert reconcile_yesterday(now=clock.now()) == 0
    with pytest.raises(PaymentsNotConfigured):
        reconcile(day=clock.now().date(), now=clock.now())


def test_the_command_says_what_differs_and_fails(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    a_busy_day(stage)
    day = (stage.now.date() - timedelta(days=1)).isoformat()
    call_command("stripe", "reconcile", "--day", day)
    assert "agree" in capsys.readouterr().out
    MeterBatch.objects.update(value_micro=1)
    with pytest.raises(CommandError, match="differ"):
        call_command("stripe", "reconcile", "--day", day)


def test_plans_are_made_at_stripe_once(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.sell("standard", 47)
    call_command("stripe", "sync-plans")
    assert "standard" in capsys.readouterr().out
    call_command("stripe", "sync-plans")
    assert sorted(price["unit_amount_decimal"] for price in stage.fake.store.every("price")) == [
        "0.0001",
        "4700",
    ]
    stage.sell("standard", 49)
    call_command("stripe", "sync-plans")
    assert len(stage.fake.store.every("price")) == 3
