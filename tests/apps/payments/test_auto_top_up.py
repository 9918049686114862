"""Wallets that fill themselves."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.models import Account
from apps.core.errors import Conflict, InvalidField
from apps.mails.models import Mail
from apps.payments import auto_top_up, services
from apps.payments.auto_top_up import run_auto_top_ups
from apps.payments.choices import PaymentKind, SendState
from apps.payments.models import AutoTopUp, Payment
from tests.apps.payments.stage import Stage, audited, usd
from tests.fake_stripe.cards import ALWAYS_3DS_CARD, FAILS_LATER_CARD, GOOD_CARD


def wish(stage: Stage, **changes: Any) -> AutoTopUp:
    """$20 below $5, at most $50 a month (Any: other arguments of the service)."""
    asked: dict[str, Any] = {
        "account": stage.account,
        "is_on": True,
        "threshold_micro": usd(5),
        "amount_micro": usd(20),
        "monthly_cap_micro": usd(50),
        "actor": stage.cast.ada.ref,
        "now": stage.now,
    }
    return services.set_auto_top_up(**(asked | changes))


def test_an_empty_wallet_is_filled_once(stage: Stage) -> None:
    stage.add_card()
    wish(stage)
    assert run_auto_top_ups(now=stage.now) == 1
    assert run_auto_top_ups(now=stage.now) == 0
    stage.deliver(duplicates=1.0)
    assert stage.balances().wallet_micro == usd(20)
    assert Payment.objects.get().kind == PaymentKind.AUTO_TOP_UP


@pytest.mark.parametrize("card", [GOOD_CARD, FAILS_LATER_CARD])
def test_what_another_worker_ends_while_we_look_is_not_begun_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, card: str
) -> None:
    stage.add_card(card=card)
    wish(stage)
    look = auto_top_up.balances

    def look_and_be_overtaken(*args: Any) -> Any:
        seen = look(*args)
        monkeypatch.setattr(auto_top_up, "balances", look)
        run_auto_top_ups(now=stage.now)
        return seen

    monkeypatch.setattr(auto_top_up, "balances", look_and_be_overtaken)
    assert run_auto_top_ups(now=stage.now) == 0
    assert Payment.objects.count() == audited("payments.auto_top_up.started") == 1


def test_a_wallet_with_enough_is_left_alone(stage: Stage) -> None:
    stage.add_card()
    stage.top_up(5)
    wish(stage)
    assert run_auto_top_ups(now=stage.now) == 0
    assert stage.balances().wallet_micro == usd(5)


def test_the_cap_of_a_month_holds_until_the_next(stage: Stage) -> None:
    stage.add_card()
    wish(stage, threshold_micro=usd(1000))
    for _ in range(5):
        run_auto_top_ups(now=stage.now)
    assert stage.balances().wallet_micro == usd(40)
    stage.pass_time(days=31)
    run_auto_top_ups(now=stage.now)
    assert stage.balances().wallet_micro == usd(60)


def test_three_declines_switch_it_off(stage: Stage) -> None:
    stage.add_card(card=FAILS_LATER_CARD)
    wish(stage)
    for failures in (1, 2, 3):
        run_auto_top_ups(now=stage.now)
        # At once again it is not tried: the card rests.
        run_auto_top_ups(now=stage.now)
        assert AutoTopUp.objects.get().failures == failures
        stage.clock.advance(hours=7)
    row = AutoTopUp.objects.get()
    assert (row.is_on, stage.balances().wallet_micro) == (False, 0)
    mails = Mail.objects.filter(template="payments_auto_top_up_failed").order_by("id")
    assert mails.count() == 3
    assert "switched off" in mails[2].text
    assert wish(stage).failures == 0


def test_a_card_that_wants_its_owner_is_a_decline(stage: Stage) -> None:
    stage.add_card(card=ALWAYS_3DS_CARD)
    wish(stage)
    run_auto_top_ups(now=stage.now)
    assert AutoTopUp.objects.get().failures == 1
    stage.deliver()
    assert stage.balances().wallet_micro == 0


@pytest.mark.parametrize("fault", ["500", "timeout_after_commit"])
def test_what_stripe_did_not_answer_is_asked_again_and_charged_once(stage: Stage, fault: Any) -> None:
    stage.add_card()
    wish(stage)
    stage.fake.fail_next(fault, method="POST", path="/v1/payment_intents")
    assert run_auto_top_ups(now=stage.now) == 0
    assert Payment.objects.get().state == SendState.WAITING
    stage.clock.advance(minutes=5)
    assert run_auto_top_ups(now=stage.now) == 1
    stage.deliver()
    assert stage.balances().wallet_micro == usd(20)
    assert len(stage.fake.store.every("payment_intent")) == 1


def test_what_stripe_forgot_the_key_of_is_looked_up(stage: Stage) -> None:
    stage.add_card()
    wish(stage)
    stage.fake.fail_next("timeout_after_commit", method="POST", path="/v1/payment_intents")
    run_auto_top_ups(now=stage.now)
    stage.clock.advance(days=2)
    stage.fake.advance(days=2)
    assert run_auto_top_ups(now=stage.now) == 1
    assert stage.balances().wallet_micro == usd(20)
    assert len(stage.fake.store.every("payment_intent")) == 1


def test_money_that_went_back_is_not_fetched_again(stage: Stage) -> None:
    stage.add_card()
    stage.top_up(20)
    wish(stage)
    services.refund_top_up(
        account=stage.account,
        payment_id=Payment.objects.get().pk,
        amount_micro=None,
        actor=stage.cast.ada.ref,
        token="refund-token-1",
        now=stage.now,
    )
    assert run_auto_top_ups(now=stage.now) == 0
    row = AutoTopUp.objects.get()
    assert (row.is_on, row.last_error, stage.balances().wallet_micro) == (
        False,
        "Switched off by a refund.",
        0,
    )
    assert audited("payments.auto_top_up.switched_off") == 1


def test_money_that_a_bank_took_back_is_not_fetched_again(stage: Stage) -> None:
    stage.add_card()
    stage.top_up(20)
    wish(stage)
    stage.fake.dispute(Payment.objects.get().intent_id or "")
    stage.deliver(duplicates=1.0)
    assert run_auto_top_ups(now=stage.now) == 0
    assert (AutoTopUp.objects.get().is_on, stage.balances().wallet_micro) == (False, 0)


def _wait_in_vain(stage: Stage, fault: Any) -> None:
    """An automatic top-up that Stripe did not answer, and a customer who then switches them off."""
    stage.add_card()
    wish(stage)
    stage.fake.fail_next(fault, method="POST", path="/v1/payment_intents")
    run_auto_top_ups(now=stage.now)
    wish(stage, is_on=False)
    stage.clock.advance(minutes=5)


def test_what_was_switched_off_charges_nothing_more(stage: Stage) -> None:
    _wait_in_vain(stage, "500")
    assert run_auto_top_ups(now=stage.now) == 0
    stage.deliver()
    assert (Payment.objects.get().state, stage.fake.store.every("payment_intent")) == (SendState.REFUSED, [])
    assert not Mail.objects.filter(template="payments_auto_top_up_failed").exists()


def test_what_was_charged_unheard_before_it_was_switched_off_is_credited(stage: Stage) -> None:
    _wait_in_vain(stage, "timeout_after_commit")
    assert run_auto_top_ups(now=stage.now) == 1
    assert (Payment.objects.get().state, stage.balances().wallet_micro) == (SendState.SENT, usd(20))


def test_a_closed_account_is_not_charged(stage: Stage) -> None:
    """The row was written, and the process ended before Stripe was asked."""
    stage.add_card()
    wish(stage)
    Payment.objects.create(
        account=stage.account,
        kind=PaymentKind.AUTO_TOP_UP,
        net_micro=usd(20),
        due_at=stage.now,
        created_at=stage.now,
    )
    Account.objects.filter(pk=stage.account.pk).update(is_active=False, closed_at=stage.now)
    assert run_auto_top_ups(now=stage.now) == 0
    assert Payment.objects.get().state == SendState.REFUSED
    assert stage.fake.store.every("payment_intent") == []


@pytest.mark.parametrize(
    "change",
    [
        {"amount_micro": 1},
        {"amount_micro": usd(-20)},
        {"monthly_cap_micro": usd(19)},
        {"threshold_micro": -1},
        {"monthly_cap_micro": usd(1_000_000)},
    ],
)
def test_wishes_that_make_no_sense_are_refused(stage: Stage, change: dict[str, int]) -> None:
    stage.add_card()
    with pytest.raises(InvalidField):
        wish(stage, **change)
    assert AutoTopUp.objects.count() == 0


def test_there_must_be_a_card(stage: Stage) -> None:
    with pytest.raises(Conflict, match="card"):
        wish(stage)
