"""Subscriptions over time: trials, renewals, prorations to the second, dunning, schedules, the portal."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.fake_stripe.cards import DECLINED_CARD, FAILS_LATER_CARD, GOOD_CARD, THREE_DS_CARD
from tests.fake_stripe.client import client_of
from tests.fake_stripe.clock import DAY_S, HOUR_S
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.visitor import PageRefused, Visitor

MARCH_S = 31 * DAY_S
"""2 March to 2 April."""
Prices = dict[str, str]


@pytest.fixture
def v1(fake_stripe: Fake) -> Any:
    return client_of(fake_stripe).v1


@pytest.fixture
def visitor(fake_stripe: Fake) -> Visitor:
    return Visitor(fake_stripe)


@pytest.fixture
def prices(v1: Any) -> Prices:
    """Of a plan for $47 a month and one for $199."""
    made = {}
    for name, cents in (("standard", 4700), ("premium", 19900)):
        product = v1.products.create({"name": name})
        made[name] = v1.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": cents,
                "recurring": {"interval": "month"},
            }
        ).id
    return made


def buy(v1: Any, visitor: Visitor, price: str, *, card: str = GOOD_CARD, **extra: Any) -> Any:
    """A subscription bought at Checkout by a new customer."""
    customer = v1.customers.create({"email": "ada@example.com"})
    session = v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "success_url": "http://testserver/ok",
            "line_items": [{"price": price, "quantity": 1}],
            **extra,
        }
    )
    visitor.pay(
        session.url, card=card, **({"promotion_code": "FREE"} if "allow_promotion_codes" in extra else {})
    )
    return v1.subscriptions.retrieve(v1.checkout.sessions.retrieve(session.id).subscription)


def swap(v1: Any, subscription: Any, price: str, **how: Any) -> Any:
    item = subscription["items"]["data"][0].id
    return v1.subscriptions.update(subscription.id, {"items": [{"id": item, "price": price}], **how})


def totals(v1: Any, subscription: Any) -> list[tuple[str, int, str]]:
    """Reason, total and state of the invoices, oldest first."""
    rows = v1.invoices.list({"subscription": subscription.id, "limit": 100}).data
    return [(row.billing_reason, row.total, row.status) for row in reversed(rows)]


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


@pytest.mark.parametrize("elapsed", [1, HOUR_S, 10 * DAY_S + 17, MARCH_S - 1])
def test_an_upgrade_costs_the_difference_for_the_seconds_left(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices, elapsed: int
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    fake_stripe.advance(seconds=elapsed)
    swap(v1, subscription, prices["premium"], proration_behavior="always_invoice")
    invoice = v1.invoices.list({"subscription": subscription.id}).data[0]
    left = MARCH_S - elapsed
    credit, debit = (-round(cents * left / MARCH_S) for cents in (4700, -19900))
    assert [line.amount for line in invoice.lines.data] == [credit, debit]
    if invoice.total >= 50:
        assert (invoice.status, invoice.amount_paid) == ("paid", credit + debit)
    else:
        # Less than the smallest charge: it waits on the customer's balance.
        assert (invoice.amount_paid, v1.customers.retrieve(subscription.customer).balance) == (
            0,
            credit + debit,
        )


def test_a_preview_is_what_the_change_then_costs(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    fake_stripe.advance(days=7)
    item = subscription["items"]["data"][0].id
    details = {"items": [{"id": item, "price": prices["premium"]}]}
    previewed = v1.invoices.create_preview({"subscription": subscription.id, "subscription_details": details})
    assert len(totals(v1, subscription)) == 1
    swap(v1, subscription, prices["premium"], proration_behavior="always_invoice")
    assert totals(v1, subscription)[-1] == ("subscription_update", previewed.total, "paid")


def test_a_credit_pays_the_next_invoice(fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices) -> None:
    subscription = buy(v1, visitor, prices["premium"])
    swap(v1, subscription, prices["standard"], proration_behavior="always_invoice")
    assert v1.customers.retrieve(subscription.customer).balance == -15200
    fake_stripe.advance(seconds=MARCH_S + HOUR_S)
    last = v1.invoices.list({"subscription": subscription.id}).data[0]
    assert (last.total, last.amount_due, last.starting_balance, last.ending_balance) == (
        4700,
        0,
        -15200,
        -10500,
    )


def test_an_upgrade_that_cannot_be_paid_changes_nothing(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    visitor.replace_card(portal(v1, subscription), card=FAILS_LATER_CARD)
    before, events = totals(v1, subscription), len(fake_stripe.take_webhooks())
    with pytest.raises(stripe.CardError):
        swap(
            v1,
            subscription,
            prices["premium"],
            proration_behavior="always_invoice",
            payment_behavior="error_if_incomplete",
        )
    assert events and fake_stripe.take_webhooks() == []
    assert totals(v1, subscription) == before
    now = v1.subscriptions.retrieve(subscription.id)
    assert now["items"]["data"][0].price.id == prices["standard"]


def test_an_update_waits_for_its_payment(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    visitor.replace_card(portal(v1, subscription), card=FAILS_LATER_CARD)
    how = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    waiting = swap(v1, subscription, prices["premium"], **how)
    assert (waiting.status, waiting["items"]["data"][0].price.id) == ("active", prices["standard"])
    assert waiting.pending_update.expires_at == fake_stripe.clock.now() + 23 * HOUR_S
    invoice = v1.invoices.list({"subscription": subscription.id, "status": "open"}).data[0]
    visitor.pay_invoice(invoice.hosted_invoice_url)
    paid = v1.subscriptions.retrieve(subscription.id)
    assert (paid.pending_update, paid["items"]["data"][0].price.id) == (None, prices["premium"])


def test_an_update_that_is_never_paid_goes_away(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    visitor.replace_card(portal(v1, subscription), card=FAILS_LATER_CARD)
    how = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    swap(v1, subscription, prices["premium"], **how)
    fake_stripe.advance(days=1)
    after = v1.subscriptions.retrieve(subscription.id)
    assert (after.status, after.pending_update) == ("active", None)
    assert totals(v1, subscription)[-1][2] == "void"


def portal(v1: Any, subscription: Any) -> str:
    made = v1.billing_portal.sessions.create(
        {"customer": subscription.customer, "return_url": "http://testserver/billing"}
    )
    return str(made.url)


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


def test_a_cheaper_plan_from_the_next_period_on(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["premium"])
    visitor.change_plan(portal(v1, subscription), subscription.id, prices["standard"])
    now = v1.subscriptions.retrieve(subscription.id, {"expand": ["schedule"]})
    assert now["items"]["data"][0].price.id == prices["premium"]
    assert [phase["items"][0].price for phase in now.schedule.phases] == [
        prices["premium"],
        prices["standard"],
    ]
    fake_stripe.advance(seconds=MARCH_S + HOUR_S)
    assert totals(v1, subscription)[-1] == ("subscription_cycle", 4700, "paid")
    fake_stripe.advance(days=31)
    assert v1.subscriptions.retrieve(subscription.id).schedule is None


def test_the_portal_upgrades_and_cancels_and_takes_back(
    fake_stripe: Fake, v1: Any, visitor: Visitor, prices: Prices
) -> None:
    subscription = buy(v1, visitor, prices["standard"])
    page = portal(v1, subscription)
    visitor.change_plan(page, subscription.id, prices["premium"])
    assert totals(v1, subscription)[-1] == ("subscription_update", 15200, "paid")
    visitor.cancel_plan(page, subscription.id)
    assert v1.subscriptions.retrieve(subscription.id).cancel_at_period_end is True
    visitor.keep_plan(page, subscription.id)
    assert v1.subscriptions.retrieve(subscription.id).cancel_at is None
    visitor.cancel_plan(page, subscription.id)
    fake_stripe.advance(seconds=MARCH_S)
    ended = v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", fake_stripe.clock.now())


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
