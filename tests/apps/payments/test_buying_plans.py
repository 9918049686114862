"""Buying a plan: once, at its price, by whoever may, with the bank's consent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.audit.refs import SYSTEM
from apps.billing.ledger.models import LedgerEntry
from apps.core.errors import Conflict, InvalidField
from apps.payments import services
from apps.payments.choices import CheckoutState
from apps.payments.connection import save_settings
from apps.payments.models import Checkout, Payment, StripeInvoice
from apps.plans.choices import SubscriptionState
from apps.plans.models import Plan
from tests.apps.payments.plan_acts import start, subscription
from tests.apps.payments.stage import Stage, usd
from tests.fake_stripe.cards import ALWAYS_3DS_CARD, DECLINED_CARD
from tests.fake_stripe.visitor import PageRefused, Visitor


def test_a_plan_that_is_paid_is_had(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    assert stage.plan_code() == "standard"
    row = subscription(stage)
    assert (row.state, row.cancel_at, row.next_plan) == (SubscriptionState.ACTIVE, None, None)
    assert row.period_end - row.period_start == timedelta(days=31)
    payment = Payment.objects.get()
    assert (payment.net_micro, payment.subscription_id) == (usd(47), row.external_id)
    invoice = services.list_invoices(stage.account).get()
    assert (invoice.status, invoice.total_micro, invoice.paid_micro) == ("paid", usd(47), usd(47))
    assert invoice.number and invoice.pdf_url and invoice.hosted_url
    assert services.list_cards(stage.account).get().last4 == "4242"


@pytest.mark.parametrize("seed", range(4))
def test_messages_in_any_order_and_twice_are_one_plan(stage: Stage, standard: Plan, seed: int) -> None:
    Visitor(stage.fake).pay(start(stage, standard))
    stage.deliver(shuffle_seed=seed, duplicates=1.0)
    assert stage.plan_code() == "standard"
    assert LedgerEntry.objects.count() == Payment.objects.count() == StripeInvoice.objects.count() == 1


def test_tax_is_kept_apart_from_what_was_earned(stage: Stage, standard: Plan) -> None:
    save_settings(
        secret_key=stage.fake.secret_key,
        webhook_secret=stage.fake.webhook_secret,
        publishable_key="",
        api_base=stage.fake.url,
        is_tax_on=True,
        actor=SYSTEM,
        now=stage.now,
    )
    stage.subscribe(standard)
    payment = Payment.objects.get()
    assert (payment.net_micro, payment.tax_micro) == (usd(47), 8_930_000)


def test_a_double_click_and_a_second_tab_are_one_visit(stage: Stage, standard: Plan) -> None:
    first = start(stage, standard, token="plan-token-1")
    assert start(stage, standard, token="plan-token-1") == first
    assert start(stage, standard, token="plan-token-2") == first
    assert Checkout.objects.count() == 1


def test_a_tab_with_another_plan_closes_the_first(stage: Stage, standard: Plan, premium: Plan) -> None:
    first = start(stage, standard, token="plan-token-1")
    start(stage, premium, token="plan-token-2")
    with pytest.raises(PageRefused):
        Visitor(stage.fake).pay(first)
    assert sorted(Checkout.objects.values_list("state", flat=True)) == [
        CheckoutState.EXPIRED,
        CheckoutState.OPEN,
    ]


def test_a_tab_that_paid_first_wins(stage: Stage, standard: Plan, premium: Plan) -> None:
    Visitor(stage.fake).pay(start(stage, standard, token="plan-token-1"))
    with pytest.raises(Conflict):
        start(stage, premium, token="plan-token-2")
    stage.deliver()
    assert stage.plan_code() == "standard"


def test_who_has_a_plan_does_not_buy_another(stage: Stage, standard: Plan, premium: Plan) -> None:
    stage.subscribe(standard)
    with pytest.raises(Conflict, match="change that one"):
        start(stage, premium, token="plan-token-2")


def test_plans_that_are_not_for_sale_are_not_sold(stage: Stage) -> None:
    for plan in (
        stage.sell("gone", 10, archived_at=stage.now),
        stage.sell("secret", 10, is_public=False),
        stage.sell("gratis", 0),
    ):
        with pytest.raises(Conflict, match="not for sale"):
            start(stage, plan)
    assert Checkout.objects.count() == 0


def test_an_unknown_promotion_code_is_refused(stage: Stage, standard: Plan) -> None:
    with pytest.raises(InvalidField, match="promotion_code"):
        start(stage, standard, promotion_code="NOPE")
    assert Checkout.objects.count() == 0


def test_a_visit_that_nobody_pays_ends(stage: Stage, standard: Plan) -> None:
    start(stage, standard)
    stage.pass_time(days=2)
    assert Checkout.objects.get().state == CheckoutState.EXPIRED
    start(stage, standard, token="plan-token-2")


def test_a_bank_that_asks_is_answered(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard, card=ALWAYS_3DS_CARD)
    assert stage.plan_code() == "standard"


def test_a_bank_that_is_not_answered_gives_nothing(stage: Stage, standard: Plan) -> None:
    url = start(stage, standard)
    with pytest.raises(PageRefused):
        Visitor(stage.fake).pay(url, card=DECLINED_CARD)
    stage.deliver()
    assert (stage.plan_code(), Payment.objects.count()) == ("free", 0)
