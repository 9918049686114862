"""Money that goes back: to customers who ask, by operators at Stripe, and by banks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from apps.billing.ledger.errors import InsufficientFunds
from apps.billing.ledger.services import adjust
from apps.core.errors import InvalidField, NotFound
from apps.mails.models import Mail
from apps.payments import services
from apps.payments.choices import SendState
from apps.payments.connection import open_api
from apps.payments.errors import NotRefundable
from apps.payments.models import Dispute, Payment, Refund
from apps.payments.refund_sending import send_due_refunds
from tests.apps.payments.stage import Stage, audited, usd


def refund(stage: Stage, dollars: int | None = None, **changes: Any) -> Refund:
    """Ada asks for the only payment back (Any: other arguments of the service)."""
    asked: dict[str, Any] = {
        "account": stage.account,
        "payment_id": Payment.objects.earliest("id").pk,
        "amount_micro": None if dollars is None else usd(dollars),
        "actor": stage.cast.ada.ref,
        "token": "refund-token-1",
        "now": stage.now,
    }
    return services.refund_top_up(**(asked | changes))


def spend(stage: Stage, dollars: int) -> None:
    with transaction.atomic():
        adjust(
            account_id=stage.account.pk,
            amount_micro=-usd(dollars),
            key="spent",
            memo="spent",
            actor=stage.cast.otto.ref,
            now=stage.now,
        )


def refunded_cents(stage: Stage) -> list[int]:
    return [row["amount"] for row in stage.fake.store.every("refund")]


def test_a_top_up_goes_back(stage: Stage) -> None:
    stage.top_up(20)
    row = refund(stage)
    assert (row.state, row.net_micro) == (SendState.SENT, usd(20))
    assert stage.balances().wallet_micro == 0
    stage.deliver(duplicates=1.0)
    assert (refunded_cents(stage), stage.balances().wallet_micro) == ([2000], 0)
    assert Refund.objects.count() == 1


def test_a_double_click_is_one_refund(stage: Stage) -> None:
    stage.top_up(20)
    assert refund(stage, 5).pk == refund(stage, 5).pk
    assert (refunded_cents(stage), stage.balances().wallet_micro) == ([500], usd(15))


def test_parts_go_back_but_never_more_than_came(stage: Stage) -> None:
    stage.top_up(20)
    refund(stage, 15, token="refund-token-1")
    with pytest.raises(InvalidField, match=r"at most \$5\.00"):
        refund(stage, 6, token="refund-token-2")
    refund(stage, 5, token="refund-token-3")
    with pytest.raises(NotRefundable, match="already"):
        refund(stage, None, token="refund-token-4")
    assert refunded_cents(stage) == [1500, 500]


def test_what_is_spent_does_not_go_back(stage: Stage) -> None:
    stage.top_up(20)
    spend(stage, 15)
    with pytest.raises(InsufficientFunds):
        refund(stage)
    assert (Refund.objects.count(), refunded_cents(stage)) == (0, [])
    assert Payment.objects.get().refunded_net_micro == 0
    refund(stage, 5, token="refund-token-2")
    assert stage.balances().wallet_micro == 0


@pytest.mark.parametrize(("days", "is_taken"), [(14, True), (14.1, False)])
def test_it_goes_back_for_14_days(stage: Stage, days: float, is_taken: bool) -> None:
    stage.top_up(20)
    stage.clock.advance(days=days)
    if is_taken:
        refund(stage)
        return
    with pytest.raises(NotRefundable, match="14 days"):
        refund(stage)
    assert stage.balances().wallet_micro == usd(20)


@pytest.mark.parametrize("amount_micro", [0, -usd(1), 1, 999_999, usd(21)])
def test_amounts_that_make_no_sense_are_refused(stage: Stage, amount_micro: int) -> None:
    stage.top_up(20)
    with pytest.raises(InvalidField):
        refund(stage, amount_micro=amount_micro)
    assert Refund.objects.count() == 0


def test_a_stranger_gets_nothing_back(stage: Stage) -> None:
    stage.top_up(20)
    with pytest.raises(NotFound):
        refund(stage, account=stage.cast.strangers_account)
    assert Refund.objects.count() == 0


def test_stripe_is_down_and_the_refund_is_on_its_way(stage: Stage) -> None:
    stage.top_up(20)
    stage.fake.fail_next("timeout_after_commit", method="POST", path="/v1/refunds")
    row = refund(stage)
    assert (row.state, stage.balances().wallet_micro) == (SendState.WAITING, 0)
    assert send_due_refunds(now=stage.now) == 0
    assert send_due_refunds(now=stage.now + timedelta(minutes=5)) == 1
    assert refunded_cents(stage) == [2000]
    row.refresh_from_db()
    assert row.state == SendState.SENT


def test_a_refund_that_was_made_unheard_days_ago_is_found(stage: Stage) -> None:
    """Idempotency keys are forgotten by then: what Stripe has is looked up first."""
    stage.top_up(20)
    stage.fake.fail_next("timeout_after_commit", method="POST", path="/v1/refunds")
    refund(stage, 5)
    stage.clock.advance(days=3)
    stage.fake.advance(days=3)
    assert send_due_refunds(now=stage.now) == 1
    assert refunded_cents(stage) == [500]


def test_a_refund_that_stripe_refuses_is_put_back(stage: Stage) -> None:
    """Somebody gave it all back at Stripe, and we have not heard of it yet."""
    stage.top_up(20)
    intent_id = Payment.objects.get().intent_id or ""
    make_at_stripe(stage, intent_id, 2000)
    row = refund(stage)
    assert (row.state, stage.balances().wallet_micro) == (SendState.REFUSED, usd(20))
    stage.deliver()
    assert stage.balances().wallet_micro == 0
    assert audited("payments.refund.failed") == 1


def make_at_stripe(stage: Stage, intent_id: str, cents: int) -> None:
    """An operator presses the button on Stripe's dashboard."""
    open_api().ask(lambda client: client.v1.refunds.create({"payment_intent": intent_id, "amount": cents}))


@pytest.mark.parametrize("seed", range(3))
def test_a_refund_made_at_stripe_is_booked(stage: Stage, seed: int) -> None:
    stage.top_up(20)
    make_at_stripe(stage, Payment.objects.get().intent_id or "", 700)
    stage.deliver(shuffle_seed=seed, duplicates=1.0)
    assert stage.balances().wallet_micro == usd(13)
    row = Refund.objects.get()
    assert (row.is_ours, row.net_micro, row.lost_micro) == (False, usd(7), 0)


def test_of_a_refund_made_at_stripe_we_bear_what_is_spent(stage: Stage) -> None:
    stage.top_up(20)
    spend(stage, 15)
    make_at_stripe(stage, Payment.objects.get().intent_id or "", 2000)
    stage.deliver()
    assert stage.balances().wallet_micro == 0
    assert Refund.objects.get().lost_micro == usd(15)


def test_the_first_payment_for_a_plan_goes_back_and_ends_it(stage: Stage) -> None:
    stage.subscribe(stage.sell("standard", 47))
    with pytest.raises(InvalidField, match="all of"):
        refund(stage, 10)
    refund(stage)
    stage.deliver()
    assert refunded_cents(stage) == [4700]
    assert stage.plan_code() == "free"


def test_a_plan_is_taken_back_once_and_not_each_time_it_is_bought(stage: Stage) -> None:
    plan = stage.sell("standard", 47)
    stage.subscribe(plan)
    refund(stage)
    stage.pass_time(days=1)
    stage.subscribe(plan, token="plan-token-2")
    with pytest.raises(NotRefundable, match="first"):
        refund(stage, payment_id=Payment.objects.latest("paid_at").pk, token="refund-token-2")
    assert (refunded_cents(stage), stage.plan_code()) == ([4700], "standard")


def test_a_plan_goes_on_when_stripe_refuses_its_refund(stage: Stage) -> None:
    """Somebody gave it back at Stripe, and we have not heard of it yet."""
    stage.subscribe(stage.sell("standard", 47))
    make_at_stripe(stage, Payment.objects.get().intent_id or "", 4700)
    assert refund(stage).state == SendState.REFUSED
    assert [row["status"] for row in stage.fake.store.every("subscription")] == ["active"]


def test_a_plan_that_stripe_could_not_end_is_ended_later_and_refunded_once(stage: Stage) -> None:
    stage.subscribe(stage.sell("standard", 47))
    stage.fake.fail_next("500", method="DELETE", path="/v1/subscriptions")
    assert refund(stage).state == SendState.WAITING
    assert refunded_cents(stage) == [4700]
    assert send_due_refunds(now=stage.now + timedelta(minutes=5)) == 1
    stage.deliver()
    assert (refunded_cents(stage), stage.plan_code()) == ([4700], "free")


def test_the_first_payment_stays_while_a_later_one_for_the_plan_does(stage: Stage) -> None:
    stage.subscribe(stage.sell("standard", 47))
    first = Payment.objects.get()
    later = Payment.objects.create(
        account=stage.account,
        kind=first.kind,
        subscription_id=first.subscription_id,
        state=SendState.SENT,
        net_micro=usd(100),
        due_at=stage.now,
        created_at=stage.now,
        paid_at=stage.now + timedelta(hours=1),
    )
    with pytest.raises(NotRefundable, match="more was paid"):
        refund(stage)
    Payment.objects.filter(pk=later.pk).update(refunded_net_micro=usd(100))
    assert refund(stage).state == SendState.SENT


def test_later_payments_for_a_plan_stay(stage: Stage) -> None:
    stage.subscribe(stage.sell("standard", 47))
    stage.pass_time(days=31, hours=2)
    later = Payment.objects.latest("paid_at")
    with pytest.raises(NotRefundable, match="first"):
        refund(stage, payment_id=later.pk)
    assert refunded_cents(stage) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_dispute_takes_the_money_until_it_is_won(stage: Stage, seed: int) -> None:
    stage.top_up(20)
    dispute_id = stage.fake.dispute(Payment.objects.get().intent_id or "")["id"]
    stage.deliver(shuffle_seed=seed, duplicates=1.0)
    assert stage.balances().wallet_micro == 0
    assert Mail.objects.filter(template="payments_dispute").count() == 1
    stage.fake.close_dispute(dispute_id, won=True)
    stage.deliver(shuffle_seed=seed, duplicates=1.0)
    assert stage.balances().wallet_micro == usd(20)
    assert Dispute.objects.get().status == "won"


def test_a_dispute_that_is_lost_leaves_a_debt_for_what_was_spent(stage: Stage) -> None:
    stage.top_up(20)
    spend(stage, 15)
    dispute_id = stage.fake.dispute(Payment.objects.get().intent_id or "")["id"]
    stage.fake.close_dispute(dispute_id, won=False)
    stage.deliver()
    assert (stage.balances().wallet_micro, stage.balances().disputed_micro) == (0, usd(15))
