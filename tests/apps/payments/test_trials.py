"""Trials of plans that Stripe bills: one a customer, kept while the visit is open, over when it is paid."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership
from apps.payments import services
from apps.payments.errors import CardDeclined
from apps.payments.models import Payment
from apps.payments.subscribed import require_open_subscription
from apps.plans.choices import SubscriptionState
from apps.plans.errors import SubscriptionConflict
from apps.plans.models import Plan, TrialClaim
from apps.plans.subscriptions import start_trial
from tests.apps.payments.plan_acts import change, start, subscription
from tests.apps.payments.stage import URLS, Stage, usd
from tests.factories import make_account
from tests.fake_stripe.cards import FAILS_LATER_CARD
from tests.fake_stripe.visitor import Visitor


@pytest.fixture
def tryable(stage: Stage) -> Plan:
    return stage.sell("standard", 47, trial_days=7)


def second_account(stage: Stage) -> Account:
    """Another one of Ada's."""
    account = make_account("second")
    Membership.objects.create(account=account, user=stage.cast.ada, role=Role.OWNER, created_at=stage.now)
    return account


def visit(stage: Stage, account: Account, plan: Plan, token: str) -> str:
    return services.start_plan_checkout(
        account=account, plan=plan, actor=stage.cast.ada.ref, token=token, now=stage.now, **URLS
    ).url


def trials_at_stripe(stage: Stage) -> list[int | None]:
    return [row["trial_end"] for row in stage.fake.store.every("subscription")]


def test_a_trial_becomes_a_plan_and_comes_once(stage: Stage, tryable: Plan) -> None:
    stage.subscribe(tryable)
    assert (stage.plan_code(), subscription(stage).state) == ("standard", SubscriptionState.TRIALING)
    assert Payment.objects.count() == 0
    stage.pass_time(days=7, hours=2)
    assert subscription(stage).state == SubscriptionState.ACTIVE
    assert Payment.objects.get().net_micro == usd(47)
    services.end_plan_now(account=stage.account, actor=stage.cast.ada.ref, now=stage.now)
    assert stage.plan_code() == "free"
    stage.subscribe(tryable, token="plan-token-2")
    assert require_open_subscription(stage.account).state == SubscriptionState.ACTIVE


def test_of_many_visits_at_once_one_has_the_trial(stage: Stage, tryable: Plan) -> None:
    """Each account may have a visit open: a person with two accounts has one trial all the same."""
    urls = [start(stage, tryable), visit(stage, second_account(stage), tryable, "plan-token-2")]
    for url in urls:
        Visitor(stage.fake).pay(url)
    stage.deliver()
    assert [end is not None for end in trials_at_stripe(stage)] == [True, False]
    assert [payment.net_micro for payment in Payment.objects.all()] == [usd(47)]
    assert TrialClaim.objects.get().held_by == ""


def test_a_visit_that_ends_gives_its_trial_back(stage: Stage, tryable: Plan) -> None:
    start(stage, tryable)
    assert TrialClaim.objects.get().held_by != ""
    stage.pass_time(days=2)
    assert not TrialClaim.objects.exists()
    stage.subscribe(tryable, token="plan-token-2")
    assert subscription(stage).state == SubscriptionState.TRIALING


def test_the_same_visit_again_keeps_its_trial(stage: Stage, tryable: Plan) -> None:
    """After a crash before Stripe has answered."""
    stage.fake.fail_next("reset", method="POST", path="/v1/checkout/sessions")
    with pytest.raises(Exception, match="payment service"):
        start(stage, tryable)
    Visitor(stage.fake).pay(start(stage, tryable))
    stage.deliver()
    assert subscription(stage).state == SubscriptionState.TRIALING


def test_what_a_visit_keeps_nobody_else_begins(stage: Stage, tryable: Plan) -> None:
    start(stage, tryable)
    with pytest.raises(SubscriptionConflict):
        start_trial(account=second_account(stage), plan=tryable, actor=stage.cast.ada.ref, now=stage.now)


def test_a_hold_that_nobody_ended_does_not_last(stage: Stage, tryable: Plan) -> None:
    start(stage, tryable)
    stage.clock.advance(days=3)
    account = second_account(stage)
    visit(stage, account, tryable, "plan-token-2")
    assert TrialClaim.objects.get().account == account


def test_an_upgrade_ends_the_trial_and_is_paid_at_once(stage: Stage, tryable: Plan, premium: Plan) -> None:
    stage.subscribe(tryable)
    stage.pass_time(days=2)
    assert change(stage, premium).is_now
    stage.deliver()
    row = require_open_subscription(stage.account)
    assert (row.state, row.plan) == (SubscriptionState.ACTIVE, premium)
    assert (row.period_start, row.period_end - row.period_start) == (stage.now, timedelta(days=31))
    assert Payment.objects.get().net_micro == usd(199)
    stage.pass_time(days=7)
    assert Payment.objects.count() == 1


def test_an_upgrade_that_is_not_paid_leaves_the_trial(stage: Stage, tryable: Plan, premium: Plan) -> None:
    stage.subscribe(tryable, card=FAILS_LATER_CARD)
    with pytest.raises(CardDeclined):
        change(stage, premium)
    stage.deliver()
    row = require_open_subscription(stage.account)
    assert (row.state, row.plan) == (SubscriptionState.TRIALING, tryable)
    assert not Payment.objects.exists()


def test_a_downgrade_in_a_trial_waits_for_its_end(stage: Stage, tryable: Plan) -> None:
    small = stage.sell("small", 9)
    stage.subscribe(tryable)
    assert not change(stage, small).is_now
    assert subscription(stage).state == SubscriptionState.TRIALING
    stage.pass_time(days=7, hours=2)
    assert (stage.plan_code(), Payment.objects.get().net_micro) == ("small", usd(9))
