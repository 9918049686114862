"""Changing, pausing and ending a plan; and what happens when the card stops paying."""

from __future__ import annotations

import pytest

from apps.core.errors import Conflict
from apps.mails.models import Mail
from apps.payments import services
from apps.payments.errors import CardDeclined, PaymentsUnavailable
from apps.payments.models import Payment
from apps.plans.choices import SubscriptionState
from apps.plans.models import Plan
from tests.apps.payments.plan_acts import asked, change, subscription
from tests.apps.payments.stage import URLS, Stage, audited, usd
from tests.fake_stripe.cards import FAILS_LATER_CARD, GOOD_CARD
from tests.fake_stripe.visitor import Visitor


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
