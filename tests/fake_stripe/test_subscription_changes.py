"""Changes of subscriptions: prorations to the second, updates that wait, schedules, the portal."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.fake_stripe.cards import FAILS_LATER_CARD
from tests.fake_stripe.clock import DAY_S, HOUR_S
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.subscribing import MARCH_S, Prices, buy, portal, swap, totals
from tests.fake_stripe.visitor import Visitor


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


def test_an_upgrade_out_of_a_trial_is_paid_or_did_not_happen(
    v1: Any, visitor: Visitor, prices: Prices
) -> None:
    how = {"trial_end": "now", "payment_behavior": "error_if_incomplete"}
    trial = {"subscription_data": {"trial_period_days": 7}}
    broke = buy(v1, visitor, prices["standard"], card=FAILS_LATER_CARD, **trial)
    with pytest.raises(stripe.CardError):
        swap(v1, broke, prices["premium"], **how)
    kept = v1.subscriptions.retrieve(broke.id)
    assert (kept.status, kept["items"].data[0].price.id) == ("trialing", prices["standard"])
    paid = swap(v1, buy(v1, visitor, prices["standard"], **trial), prices["premium"], **how)
    assert paid.status == "active"
    assert sorted(cents for _, cents, _ in totals(v1, paid)) == [0, 19900]


def test_a_phase_keeps_the_discounts_that_it_names(v1: Any, visitor: Visitor, prices: Prices) -> None:
    for is_named in (True, False):
        subscription = buy(v1, visitor, prices["premium"])
        coupon = v1.coupons.create({"percent_off": 50, "duration": "forever"})
        [discount] = v1.subscriptions.update(
            subscription.id, {"discounts": [{"coupon": coupon.id}]}
        ).discounts
        schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
        phase = {
            "items": [{"price": prices["premium"], "quantity": 1}],
            "start_date": schedule.current_phase.start_date,
            "end_date": schedule.current_phase.end_date,
        }
        kept = {"discounts": [{"discount": discount}]} if is_named else {}
        v1.subscription_schedules.update(schedule.id, {"phases": [phase | kept]})
        assert v1.subscriptions.retrieve(subscription.id).discounts == ([discount] if is_named else [])
