"""Filling the wallet at Stripe's Checkout."""

from __future__ import annotations

import pytest

from apps.billing.ledger.models import LedgerEntry
from apps.core.errors import Conflict, InvalidField
from apps.payments import services
from apps.payments.choices import CheckoutState
from apps.payments.errors import PaymentsUnavailable
from apps.payments.models import Checkout, Payment, StripeCustomer
from tests.apps.payments.stage import URLS, Stage, audited, usd
from tests.fake_stripe.cards import DECLINED_CARD
from tests.fake_stripe.visitor import PageRefused, Visitor


def start(stage: Stage, dollars: int = 20, token: str = "top-up-token-1") -> str:
    return services.start_top_up(
        account=stage.account,
        amount_micro=usd(dollars),
        actor=stage.cast.ada.ref,
        token=token,
        now=stage.now,
        **URLS,
    ).url


def test_money_that_is_paid_is_in_the_wallet(stage: Stage) -> None:
    assert stage.top_up(20) == URLS["success_url"]
    assert stage.balances().wallet_micro == usd(20)
    payment = Payment.objects.get()
    assert (payment.net_micro, payment.tax_micro, payment.paid_at is not None) == (usd(20), 0, True)
    assert LedgerEntry.objects.get().key == f"topup:{payment.intent_id}"
    assert Checkout.objects.get().state == CheckoutState.COMPLETE
    assert audited("payments.checkout.started") == 1


def test_two_clicks_are_one_visit(stage: Stage) -> None:
    assert start(stage) == start(stage)
    assert Checkout.objects.count() == StripeCustomer.objects.count() == 1


def test_two_tabs_with_forms_of_their_own_are_two_top_ups(stage: Stage) -> None:
    stage.top_up(20, token="top-up-token-1")
    stage.top_up(20, token="top-up-token-2")
    assert stage.balances().wallet_micro == usd(40)
    assert StripeCustomer.objects.count() == 1


def test_a_form_is_good_for_one_payment(stage: Stage) -> None:
    stage.top_up(20)
    with pytest.raises(Conflict, match="reload"):
        start(stage)


def test_the_same_form_with_another_amount_is_refused(stage: Stage) -> None:
    start(stage, 20)
    with pytest.raises(Conflict, match="something else"):
        start(stage, 30)
    assert Checkout.objects.get().amount_micro == usd(20)


def test_a_declined_card_brings_nothing(stage: Stage) -> None:
    url = start(stage)
    with pytest.raises(PageRefused):
        Visitor(stage.fake).pay(url, card=DECLINED_CARD)
    stage.deliver()
    assert stage.balances().wallet_micro == 0
    assert not Payment.objects.filter(paid_at__isnull=False).exists()
    Visitor(stage.fake).pay(url)
    stage.deliver()
    assert stage.balances().wallet_micro == usd(20)


@pytest.mark.parametrize("seed", range(5))
def test_messages_in_any_order_twice_and_forged_are_the_same_money(stage: Stage, seed: int) -> None:
    Visitor(stage.fake).pay(start(stage))
    counts = stage.deliver(shuffle_seed=seed, duplicates=1.0, bad_signatures=0.5)
    assert counts["forged_accepted"] == 0
    assert stage.balances().wallet_micro == usd(20)
    assert LedgerEntry.objects.count() == 1


def test_the_customer_is_back_before_the_message(stage: Stage) -> None:
    Visitor(stage.fake).pay(start(stage))
    state = services.settle_checkout(account=stage.account, token="top-up-token-1", now=stage.now)
    assert state == CheckoutState.COMPLETE
    assert stage.balances().wallet_micro == usd(20)
    stage.deliver()
    assert stage.balances().wallet_micro == usd(20)


def test_a_stranger_learns_nothing_of_a_visit(stage: Stage) -> None:
    start(stage)
    strangers = stage.cast.strangers_account
    assert services.settle_checkout(account=strangers, token="top-up-token-1", now=stage.now) is None


def test_stripe_is_down_and_nothing_has_begun(stage: Stage) -> None:
    stage.fake.fail_next("500", method="POST", path="/v1/checkout/sessions")
    with pytest.raises(PaymentsUnavailable):
        start(stage)
    assert Checkout.objects.get().state == CheckoutState.STARTING
    # The same form goes on where it stopped.
    assert start(stage).startswith(stage.fake.url)


def test_a_session_that_was_made_unheard_is_found_again(stage: Stage) -> None:
    """The answer got lost: the repetition has the same idempotency key, hence the same session."""
    stage.fake.fail_next("timeout_after_commit", method="POST", path="/v1/checkout/sessions")
    with pytest.raises(PaymentsUnavailable):
        start(stage)
    Visitor(stage.fake).pay(start(stage))
    stage.deliver()
    assert stage.balances().wallet_micro == usd(20)


def test_a_customer_that_was_made_unheard_is_one(stage: Stage) -> None:
    stage.fake.fail_next("timeout_after_commit", method="POST", path="/v1/customers")
    with pytest.raises(PaymentsUnavailable):
        start(stage)
    start(stage)
    assert len(stage.fake.store.every("customer")) == 1


@pytest.mark.parametrize("amount_micro", [0, -usd(5), usd(5) - 1, usd(5) + 1, usd(10_001), 4_990_000])
def test_amounts_that_make_no_sense_are_refused(stage: Stage, amount_micro: int) -> None:
    with pytest.raises(InvalidField):
        services.start_top_up(
            account=stage.account,
            amount_micro=amount_micro,
            actor=stage.cast.ada.ref,
            token="top-up-token-1",
            now=stage.now,
            **URLS,
        )
    assert Checkout.objects.count() == 0


@pytest.mark.parametrize("url", ["https://evil.example/x", "http://testserver.evil.example/", "/portal"])
def test_stripe_sends_browsers_to_our_pages_alone(stage: Stage, url: str) -> None:
    with pytest.raises(InvalidField, match="success_url"):
        services.start_top_up(
            account=stage.account,
            amount_micro=usd(5),
            actor=stage.cast.ada.ref,
            token="top-up-token-1",
            now=stage.now,
            success_url=url,
            cancel_url=URLS["cancel_url"],
        )
    assert Checkout.objects.count() == 0


@pytest.mark.parametrize("token", ["", "short", "x" * 65, "tokén-with-accent"])
def test_tokens_that_are_not_ours_are_refused(stage: Stage, token: str) -> None:
    with pytest.raises(InvalidField, match="token"):
        start(stage, token=token)
