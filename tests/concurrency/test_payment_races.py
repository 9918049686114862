"""Two tabs, many clicks, several workers: one wish, one payment, one refund, every time.

DARKROOM_DRILL_COUNT sets the rounds. The last test is the control: with the lock off, the race is real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection

from apps.billing.choices import Source
from apps.billing.ledger.errors import InsufficientFunds
from apps.billing.ledger.models import LedgerEntry
from apps.core.errors import Conflict, InvalidField
from apps.payments import customers, services
from apps.payments.auto_top_up import run_auto_top_ups
from apps.payments.errors import NotRefundable
from apps.payments.metering import collect_usage
from apps.payments.models import Checkout, MeterBatch, MeteredUsage, Payment, Refund, StripeEvent
from apps.payments.subscribed import require_open_subscription
from apps.plans.models import Plan
from tests.apps.payments.conftest import configured, impatient, stage
from tests.apps.payments.stage import URLS, Stage, usd
from tests.apps.payments.usage import use
from tests.concurrency.racing import DRILL_S, Track
from tests.drills.counting import drill_count
from tests.fake_stripe.visitor import Visitor

__all__ = ["configured", "impatient", "stage"]

RACERS = 6
ROUNDS = 2

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(DRILL_S)]


@pytest.fixture
def track(transactional_db: None) -> Iterator[Track]:
    with Track(RACERS).open() as racers:
        yield racers


def top_up(stage: Stage, token: str) -> str:
    return services.start_top_up(
        account=stage.account,
        amount_micro=usd(20),
        actor=stage.cast.ada.ref,
        token=token,
        now=stage.now,
        **URLS,
    ).url


def test_many_clicks_are_one_visit(stage: Stage, track: Track) -> None:
    for number in range(drill_count(ROUNDS)):
        urls: list[str] = []
        acts = [partial(_note, urls, top_up, stage, f"token-{number:04}")] * RACERS
        assert track.race(acts) == {None: RACERS}
        assert len(set(urls)) == 1
        assert Checkout.objects.count() == number + 1
    assert len(stage.fake.store.every("customer")) == 1


def test_a_message_delivered_many_times_at_once_is_one_payment(stage: Stage, track: Track) -> None:
    for number in range(drill_count(ROUNDS)):
        Visitor(stage.fake).pay(top_up(stage, f"token-{number:04}"))
        webhooks = stage.fake.take_webhooks()
        for webhook in webhooks:
            answers: list[int] = []
            track.race([partial(_note, answers, stage.post, webhook)] * RACERS)
            assert set(answers) == {200}
        assert stage.balances().wallet_micro == usd(20) * (number + 1)
    assert LedgerEntry.objects.count() == Payment.objects.count() == drill_count(ROUNDS)
    assert not StripeEvent.objects.filter(state__in=["waiting", "failed"]).exists()


def _note(answers: list[Any], act: Callable[..., Any], *arguments: Any) -> None:
    """Any: whatever the act takes and answers."""
    answers.append(act(*arguments))


def change(stage: Stage, plan: Plan, token: str) -> services.PlanChange:
    return services.change_plan(
        account=stage.account, plan=plan, actor=stage.cast.ada.ref, token=token, now=stage.now
    )


def refund(stage: Stage, payment: Payment, token: str) -> Refund:
    return services.refund_top_up(
        account=stage.account,
        payment_id=payment.pk,
        amount_micro=None,
        actor=stage.cast.ada.ref,
        token=token,
        now=stage.now,
    )


def test_one_of_many_refunds_gets_the_money(stage: Stage, track: Track) -> None:
    for number in range(drill_count(ROUNDS)):
        stage.top_up(20, token=f"token-{number:04}")
        payment = Payment.objects.latest("pk")
        acts = [partial(refund, stage, payment, f"refund-{number:04}-{each}") for each in range(RACERS)]
        outcomes = track.race(acts, Conflict, NotRefundable, InvalidField, InsufficientFunds)
        assert outcomes[None] == 1
        assert stage.balances().wallet_micro == 0
    assert len(stage.fake.store.every("refund")) == Refund.objects.count() == drill_count(ROUNDS)


def test_two_tabs_that_change_the_plan_end_where_stripe_is(stage: Stage, track: Track) -> None:
    stage.subscribe(stage.sell("standard", 47))
    plans = [stage.sell("premium", 199), stage.sell("studio", 299)]
    for number in range(drill_count(ROUNDS)):
        acts = [partial(change, stage, plan, f"change-{number:04}-{plan.code}") for plan in plans]
        track.race(acts, Conflict)
        stage.deliver()
        ours = require_open_subscription(stage.account)
        [theirs] = stage.fake.store.every("subscription")
        cents = theirs["items"]["data"][0]["price"]["unit_amount"]
        assert ours.plan.price_micro == cents * 10_000
        assert stage.plan_code() == ours.plan.code


def test_workers_put_usage_into_one_batch(stage: Stage, track: Track) -> None:
    stage.add_card()
    for number in range(drill_count(ROUNDS)):
        for job_id in range(number * 10, number * 10 + 10):
            use(stage.account, job_id=job_id, price_micro=2_000, now=stage.now)
        track.race([lambda: collect_usage(now=stage.now)] * RACERS)
        stage.clock.advance(minutes=1)
        assert MeteredUsage.objects.count() == 10 * (number + 1)
        assert sum(MeterBatch.objects.values_list("value_micro", flat=True)) == 20_000 * (number + 1)


def test_workers_fill_a_wallet_once(stage: Stage, track: Track) -> None:
    rounds = drill_count(ROUNDS)
    stage.add_card()
    services.set_auto_top_up(
        account=stage.account,
        is_on=True,
        threshold_micro=usd(5),
        amount_micro=usd(20),
        monthly_cap_micro=usd(20) * rounds,
        actor=stage.cast.ada.ref,
        now=stage.now,
    )
    for number in range(1, rounds + 1):
        track.race([lambda: run_auto_top_ups(now=stage.now)] * RACERS)
        stage.deliver()
        assert stage.balances().wallet_micro == usd(20)
        assert len(stage.fake.store.every("payment_intent")) == number
        use(
            stage.account,
            job_id=number,
            price_micro=usd(20),
            now=stage.now,
            source=Source.WALLET,
            is_captured=True,
        )
        stage.clock.advance(minutes=10)


def test_without_the_lock_an_account_is_served_twice_at_once(
    stage: Stage, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what `one_at_a_time` keeps apart does meet when it does nothing."""
    assert most_at_once(stage, track) == 1

    monkeypatch.setattr(customers, "try_session_lock", lambda name: True)
    monkeypatch.setattr(customers, "release_session_lock", lambda name: None)
    assert most_at_once(stage, track) > 1


def most_at_once(stage: Stage, track: Track) -> int:
    """How many of the racers are within the section at one time."""
    inside: list[int] = []
    seen: list[int] = []

    def visit() -> None:
        with customers.one_at_a_time(stage.account.pk):
            inside.append(1)
            seen.append(len(inside))
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.05)")
            inside.pop()

    track.race([visit] * RACERS)
    return max(seen)
