"""Subscriptions over time: trials, renewals, dunning, pauses, their end."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.fake_stripe.cards import DECLINED_CARD, FAILS_LATER_CARD, GOOD_CARD, THREE_DS_CARD
from tests.fake_stripe.clock import DAY_S, HOUR_S
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.subscribing import MARCH_S, Prices, buy, portal, totals
from tests.fake_stripe.visitor import PageRefused, Visitor


def test_a_renewal_is_billed_an_hour_later(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    start = fake_stripe.clock.now()
    item = subscription["items"]["data"][0]
    assert (subscription.status, item.current_period_end) == ("active", start + MARCH_S)
    fake_stripe.advance(seconds=MARCH_S)
    assert totals(v1, subscription) == [
        ("subscription_create", 4700, "paid"),
        ("subscription_cycle", 4700, "draft"),
    ]
    fake_stripe.advance(hours=1)
    assert totals(v1, subscription)[-1] == ("subscription_cycle", 4700, "paid")
    again = v1.subscriptions.retrieve(subscription.id)
    # 2 May, not 31 days on: the anchor's day of the month counts.
    assert again["items"]["data"][0].current_period_end == start + MARCH_S + 30 * DAY_S


def test_a_trial_becomes_a_paid_period(fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices) -> None:
    subscription = buy(v1, visitor, prices["standard"], subscription_data={"trial_period_days": 14})
    assert (subscription.status, totals(v1, subscription)) == (
        "trialing",
        [("subscription_create", 0, "paid")],
    )
    fake_stripe.take_webhooks()
    fake_stripe.advance(days=11)
    assert [row.type for row in fake_stripe.take_webhooks()] == ["customer.subscription.trial_will_end"]
    fake_stripe.advance(days=3, hours=1)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"
    assert totals(v1, subscription)[-1] == ("subscription_cycle", 4700, "paid")


def test_a_trial_without_a_card_ends(fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices) -> None:
    data = {
        "trial_period_days": 14,
        "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
    }
    subscription = buy(
        v1,
        visitor,
        prices["standard"],
        card="",
        payment_method_collection="if_required",
        subscription_data=data,
    )
    fake_stripe.advance(days=15)
    ended = v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, totals(v1, subscription)) == ("canceled", [("subscription_create", 0, "paid")])


def test_dunning_recovers_with_another_card(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    visitor.replace_card(portal(v1, subscription), card=FAILS_LATER_CARD)
    fake_stripe.advance(seconds=MARCH_S + HOUR_S)
    assert v1.subscriptions.retrieve(subscription.id).status == "past_due"
    visitor.replace_card(portal(v1, subscription), card=GOOD_CARD)
    fake_stripe.advance(days=3)
    assert v1.subscriptions.retrieve(subscription.id).status == "active"
    assert totals(v1, subscription)[-1] == ("subscription_cycle", 4700, "paid")


@pytest.mark.parametrize(
    ("after", "status"), [("cancel", "canceled"), ("unpaid", "unpaid"), ("past_due",) * 2]
)
def test_dunning_ends(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices, after: str, status: str
) -> None:
    fake_stripe.settings.after_retries = after
    subscription = buy(v1, visitor, prices["standard"])
    visitor.replace_card(portal(v1, subscription), card=FAILS_LATER_CARD)
    fake_stripe.advance(seconds=MARCH_S + HOUR_S)
    for days in (3, 5, 6):
        fake_stripe.advance(days=days)
        assert v1.subscriptions.retrieve(subscription.id).status == "past_due"
    fake_stripe.advance(days=1)
    assert v1.subscriptions.retrieve(subscription.id).status == status
    assert v1.invoices.list({"subscription": subscription.id}).data[0].attempt_count == 4


def test_a_declined_card_leaves_no_subscription(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    with pytest.raises(PageRefused, match="was declined"):
        buy(v1, visitor, prices["standard"], card=DECLINED_CARD)
    assert v1.subscriptions.list({"status": "all"}).data == []


def test_an_abandoned_challenge_expires(fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices) -> None:
    customer = v1.customers.create({})
    session = v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "success_url": "http://testserver/ok",
            "line_items": [{"price": prices["standard"], "quantity": 1}],
        }
    )
    visitor.begin_payment(session.url, card=THREE_DS_CARD)
    made = v1.subscriptions.list({"status": "all"}).data[0]
    assert made.status == "incomplete"
    fake_stripe.advance(days=1)
    assert v1.subscriptions.retrieve(made.id).status == "incomplete_expired"
    assert totals(v1, made) == [("subscription_create", 4700, "void")]


def test_a_paused_subscription_collects_nothing(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    v1.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    fake_stripe.advance(days=40)
    assert totals(v1, subscription)[-1] == ("subscription_cycle", 4700, "void")
    resumed = v1.subscriptions.update(subscription.id, {"pause_collection": ""})
    assert (resumed.status, resumed.pause_collection) == ("active", None)
    fake_stripe.advance(days=30)
    assert totals(v1, subscription)[-1] == ("subscription_cycle", 4700, "paid")


def test_the_first_month_is_free(fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices) -> None:
    coupon = v1.coupons.create({"percent_off": 100, "duration": "once"})
    v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FREE"})
    subscription = buy(v1, visitor, prices["standard"], allow_promotion_codes=True)
    fake_stripe.advance(days=32)
    assert totals(v1, subscription) == [
        ("subscription_create", 0, "paid"),
        ("subscription_cycle", 4700, "paid"),
    ]


def test_a_deleted_customer_has_no_subscription(v1: Any, visitor: Visitor, prices: Prices) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    v1.customers.delete(subscription.customer)
    assert v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert v1.customers.retrieve(subscription.customer).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        v1.customers.update(subscription.customer, {"name": "x"})
