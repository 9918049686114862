"""Accounts that were closed are billed no more."""

from __future__ import annotations

import pytest

from apps.billing.pay_later import may_pay_later
from apps.payments.closing import end_billing_of_closed
from apps.payments.models import Payment
from tests.apps.payments.stage import Stage


@pytest.fixture
def closed(stage: Stage) -> Stage:
    """Ada had a plan and paid as she went, and then closed the account."""
    stage.subscribe(stage.sell("standard", 47))
    stage.add_card()
    type(stage.account).objects.filter(pk=stage.account.pk).update(closed_at=stage.now, is_active=False)
    return stage


def test_both_end_and_nothing_more_is_charged(closed: Stage) -> None:
    assert end_billing_of_closed(now=closed.now) == 1
    assert end_billing_of_closed(now=closed.now) == 0
    assert (closed.plan_code(), may_pay_later(closed.account.pk)) == ("free", False)
    closed.pass_time(days=40)
    assert Payment.objects.count() == 1
    assert {each["status"] for each in closed.fake.store.every("subscription")} == {"canceled"}


def test_it_is_tried_until_stripe_answers(closed: Stage) -> None:
    closed.fake.fail_next("500", method="DELETE", path="/v1/subscriptions")
    assert end_billing_of_closed(now=closed.now) == 0
    assert end_billing_of_closed(now=closed.now) == 1


def test_stopping_credit_is_tried_until_stripe_answers(closed: Stage) -> None:
    closed.fake.fail_next("500", method="POST", path="/v1/subscriptions")
    assert end_billing_of_closed(now=closed.now) == 0
    assert end_billing_of_closed(now=closed.now) == 1
    closed.pass_time(days=40)
    assert {each["status"] for each in closed.fake.store.every("subscription")} == {"canceled"}


def test_open_accounts_are_left_alone(stage: Stage) -> None:
    stage.subscribe(stage.sell("standard", 47))
    assert end_billing_of_closed(now=stage.now) == 0
    assert stage.plan_code() == "standard"
