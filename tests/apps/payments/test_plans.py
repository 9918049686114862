"""Buying a plan, changing, pausing and ending it; and what happens when the card stops paying."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.audit.refs import SYSTEM
from apps.billing.ledger.models import LedgerEntry
from apps.core.errors import Conflict, InvalidField
from apps.mails.models import Mail
from apps.payments import services
from apps.payments.choices import CheckoutState
from apps.payments.connection import save_settings
from apps.payments.errors import CardDeclined, PaymentsUnavailable
from apps.payments.models import Checkout, Payment, StripeInvoice
from apps.payments.subscribed import require_open_subscription
from apps.plans.choices import SubscriptionState
from apps.plans.models import Plan, Subscription
from tests.apps.payments.stage import URLS, Stage, audited, usd
from tests.fake_stripe.cards import ALWAYS_3DS_CARD, DECLINED_CARD, FAILS_LATER_CARD, GOOD_CARD
from tests.fake_stripe.visitor import PageRefused, Visitor


@pytest.fixture
def standard(stage: Stage) -> Plan:
    return stage.sell("standard", 47)


@pytest.fixture
def premium(stage: Stage) -> Plan:
    return stage.sell("premium", 199)


def start(stage: Stage, plan: Plan, *, token: str = "plan-token-1", promotion_code: str = "") -> str:
    return services.start_plan_checkout(
        account=stage.account,
        plan=plan,
        actor=stage.cast.ada.ref,
        token=token,
        now=stage.now,
        promotion_code=promotion_code,
        **URLS,
    ).url


def change(stage: Stage, plan: Plan, token: str = "change-token-1") -> services.PlanChange:
    return services.change_plan(
        account=stage.account, plan=plan, actor=stage.cast.ada.ref, token=token, now=stage.now
    )


def asked(stage: Stage) -> dict[str, Any]:
    """By Ada, for her account, now (Any: arguments of services)."""
    return {"account": stage.account, "actor": stage.cast.ada.ref, "now": stage.now}


def subscription(stage: Stage) -> Subscription:
    return Subscription.objects.get(account=stage.account)


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


def test_an_upgrade_is_at_once_and_the_difference_is_charged(
    stage: Stage, standard: Plan, premium: Plan
) -> None:
    stage.subscribe(standard)
    stage.pass_time(days=15.5)
    result = change(stage, premium)
    assert result.is_now
    assert stage.plan_code() == "premium"
    stage.deliver()
    # Half of a period of 31 days: half of the difference.
    assert Payment.objects.latest("id").net_micro == usd(76)
    assert change(stage, premium, token="change-token-2").is_now
    assert audited("plans.subscription.changed") == 1


def test_an_upgrade_that_the_bank_refuses_changes_nothing(
    stage: Stage, standard: Plan, premium: Plan
) -> None:
    stage.subscribe(standard)
    stage.pass_time(days=1)
    portal = services.open_portal(account=stage.account, return_url=URLS["cancel_url"], now=stage.now)
    Visitor(stage.fake).replace_card(portal.url, card=FAILS_LATER_CARD)
    stage.deliver()
    with pytest.raises(CardDeclined):
        change(stage, premium)
    stage.deliver()
    assert stage.plan_code() == "standard"
    assert Payment.objects.count() == 1


def test_a_downgrade_waits_for_the_end_of_the_period(stage: Stage, standard: Plan, premium: Plan) -> None:
    stage.subscribe(premium)
    stage.pass_time(days=3)
    result = change(stage, standard)
    assert not result.is_now
    assert result.effective_at == subscription(stage).period_end
    assert (stage.plan_code(), subscription(stage).next_plan) == ("premium", standard)
    stage.pass_time(days=29)
    assert (stage.plan_code(), subscription(stage).next_plan) == ("standard", None)
    assert Payment.objects.latest("id").net_micro == usd(47)


def test_a_downgrade_is_taken_back(stage: Stage, standard: Plan, premium: Plan) -> None:
    stage.subscribe(premium)
    change(stage, standard)
    change(stage, premium, token="change-token-2")
    assert subscription(stage).next_plan is None
    stage.pass_time(days=32)
    assert stage.plan_code() == "premium"


def test_a_canceled_plan_ends_with_its_period(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    ends_at = services.cancel_plan(
        account=stage.account, actor=stage.cast.ada.ref, token="cancel-token-1", now=stage.now
    )
    assert (stage.plan_code(), subscription(stage).cancel_at) == ("standard", ends_at)
    stage.pass_time(days=32)
    assert stage.plan_code() == "free"
    assert subscription(stage).state == SubscriptionState.CANCELED
    with pytest.raises(Conflict):
        change(stage, standard)


def test_a_cancellation_is_taken_back(stage: Stage, standard: Plan, premium: Plan) -> None:
    stage.subscribe(standard)
    services.cancel_plan(token="cancel-token-1", **asked(stage))
    with pytest.raises(Conflict, match="resume"):
        change(stage, premium)
    services.resume_plan(token="resume-token-1", **asked(stage))
    services.resume_plan(token="resume-token-2", **asked(stage))
    assert subscription(stage).cancel_at is None
    stage.pass_time(days=32)
    assert stage.plan_code() == "standard"


def test_a_paused_plan_costs_and_gives_nothing(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    services.pause_plan(token="pause-token-1", **asked(stage))
    assert (stage.plan_code(), subscription(stage).state) == ("free", SubscriptionState.PAUSED)
    stage.pass_time(days=32)
    assert Payment.objects.count() == 1
    services.resume_plan(token="resume-token-1", **asked(stage))
    assert stage.plan_code() == "standard"


def test_a_card_that_stops_paying_costs_the_plan_in_the_end(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    portal = services.open_portal(account=stage.account, return_url=URLS["cancel_url"], now=stage.now)
    Visitor(stage.fake).replace_card(portal.url, card=FAILS_LATER_CARD)
    stage.deliver()
    stage.pass_time(days=31, hours=2)
    assert (stage.plan_code(), subscription(stage).state) == ("standard", SubscriptionState.PAST_DUE)
    [mail] = Mail.objects.filter(template="payments_invoice_failed")
    assert mail.to == ["ada@example.com"] and "$47.00" in mail.text
    stage.pass_time(days=20)
    assert subscription(stage).state == SubscriptionState.CANCELED
    assert stage.plan_code() == "free"


def test_a_new_card_in_time_saves_the_plan(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    portal = services.open_portal(account=stage.account, return_url=URLS["cancel_url"], now=stage.now)
    Visitor(stage.fake).replace_card(portal.url, card=FAILS_LATER_CARD)
    stage.deliver()
    stage.pass_time(days=31, hours=2)
    unpaid = services.list_invoices(stage.account).get(status="open")
    Visitor(stage.fake).pay_invoice(unpaid.hosted_url, card=GOOD_CARD)
    stage.deliver()
    assert (stage.plan_code(), subscription(stage).state) == ("standard", SubscriptionState.ACTIVE)
    assert Payment.objects.count() == 2


def test_a_bank_that_asks_is_answered(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard, card=ALWAYS_3DS_CARD)
    assert stage.plan_code() == "standard"


def test_a_bank_that_is_not_answered_gives_nothing(stage: Stage, standard: Plan) -> None:
    url = start(stage, standard)
    with pytest.raises(PageRefused):
        Visitor(stage.fake).pay(url, card=DECLINED_CARD)
    stage.deliver()
    assert (stage.plan_code(), Payment.objects.count()) == ("free", 0)


def test_a_trial_becomes_a_plan_and_comes_once(stage: Stage) -> None:
    plan = stage.sell("standard", 47, trial_days=7)
    stage.subscribe(plan)
    assert (stage.plan_code(), subscription(stage).state) == ("standard", SubscriptionState.TRIALING)
    assert Payment.objects.count() == 0
    stage.pass_time(days=7, hours=2)
    assert subscription(stage).state == SubscriptionState.ACTIVE
    assert Payment.objects.get().net_micro == usd(47)
    services.end_plan_now(account=stage.account, actor=stage.cast.ada.ref, now=stage.now)
    assert stage.plan_code() == "free"
    stage.subscribe(plan, token="plan-token-2")
    assert require_open_subscription(stage.account).state == SubscriptionState.ACTIVE


def test_stripe_is_down_and_the_plan_stays(stage: Stage, standard: Plan, premium: Plan) -> None:
    stage.subscribe(standard)
    stage.fake.fail_next("500", method="POST", path="/v1/subscriptions")
    with pytest.raises(PaymentsUnavailable):
        change(stage, premium)
    assert stage.plan_code() == "standard"
    # The same form again is the same change, whether Stripe had heard the first or not.
    change(stage, premium)
    assert stage.plan_code() == "premium"


def test_an_upgrade_that_went_unheard_is_one(stage: Stage, standard: Plan, premium: Plan) -> None:
    stage.subscribe(standard)
    stage.pass_time(days=15.5)
    stage.fake.fail_next("timeout_after_commit", method="POST", path="/v1/subscriptions")
    with pytest.raises(PaymentsUnavailable):
        change(stage, premium)
    change(stage, premium)
    stage.deliver()
    assert Payment.objects.count() == 2
    assert stage.plan_code() == "premium"


def test_strangers_change_nothing_of_each_other(stage: Stage, standard: Plan) -> None:
    stage.subscribe(standard)
    with pytest.raises(Conflict):
        services.cancel_plan(
            account=stage.cast.strangers_account,
            actor=stage.cast.cleo.ref,
            token="cancel-token-1",
            now=stage.now,
        )
    assert subscription(stage).cancel_at is None
