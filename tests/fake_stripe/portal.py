"""Billing portal sessions, and what a customer does there: another plan, the end, another card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe import cards, schedules
from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params
from tests.fake_stripe.products import amount_of
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj
from tests.fake_stripe.subscription_objects import ENDED_STATES, items_of, period_of
from tests.fake_stripe.subscription_states import UPDATED
from tests.fake_stripe.subscription_updates import Change, change_items
from tests.fake_stripe.subscriptions import set_cancel_at_period_end

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def create(fake: Fake, params: Params) -> Obj:
    customer = live_customer(fake, params.need("customer"))
    object_id = fake.store.new_id("bps")
    session = {
        "id": object_id,
        "object": "billing_portal.session",
        "configuration": "bpc_fake",
        "created": fake.clock.now(),
        "customer": customer["id"],
        "flow": None,
        "livemode": False,
        "locale": params.text("locale"),
        "on_behalf_of": None,
        "return_url": params.text("return_url"),
        "url": f"{fake.url}/p/session/{object_id}",
    }
    fake.store.add(session)
    emit(fake, "billing_portal.session.created", session)
    return session


def subscriptions_of(fake: Fake, session: Obj) -> list[Obj]:
    return [
        row
        for row in fake.store.every("subscription")
        if row["customer"] == session["customer"] and row["status"] not in ENDED_STATES
    ]


def own_subscription(fake: Fake, session: Obj, subscription_id: str) -> Obj:
    for row in subscriptions_of(fake, session):
        if row["id"] == subscription_id:
            return row
    raise invalid("This subscription is not on this page.")


def choices(fake: Fake) -> list[Obj]:
    """Prices that plans can be changed to: those for sale by the month or year, metered ones aside."""
    return [
        row
        for row in fake.store.every("price")
        if row["active"] and row["recurring"] and row["recurring"]["usage_type"] == "licensed"
    ]


def change_plan(fake: Fake, subscription: Obj, price_id: str) -> None:
    """A dearer plan at once, charged at once; a cheaper one from the next period, where settings say so."""
    price = fake.store.get("price", price_id)
    item = items_of(subscription)[0]
    quantity = item.get("quantity", 1)
    is_cheaper = amount_of(price, quantity) < amount_of(item["price"], quantity)
    if is_cheaper and fake.settings.portal_downgrades_later and subscription["status"] != "trialing":
        _change_later(fake, subscription, price)
        return
    change_items(
        fake,
        subscription,
        [Change(item, price, quantity)],
        proration="always_invoice",
        behaviour="pending_if_incomplete",
    )


def _change_later(fake: Fake, subscription: Obj, price: Obj) -> None:
    if subscription["schedule"] is None:
        schedules.create(fake, Params({"from_subscription": subscription["id"]}))
    start, over = period_of(subscription)
    item = items_of(subscription)[0]
    now = {"0": {"price": item["price"]["id"], "quantity": str(item["quantity"])}}
    later = {"0": {"price": price["id"], "quantity": str(item["quantity"])}}
    interval = price["recurring"]["interval"]
    phases = {
        "0": {"items": now, "start_date": str(start), "end_date": str(over)},
        "1": {"items": later, "duration": {"interval": interval, "interval_count": "1"}},
    }
    schedules.update(fake, Params({"phases": phases, "proration_behavior": "none"}), subscription["schedule"])


def set_canceled(fake: Fake, subscription: Obj, *, is_canceled: bool) -> None:
    """At the end of the period, or not any more."""
    if subscription["schedule"]:
        schedules.release(fake, Params({}), subscription["schedule"])
    with changing(fake, subscription, UPDATED):
        set_cancel_at_period_end(fake, subscription, is_canceled=is_canceled)


def replace_card(fake: Fake, session: Obj, number: str) -> Obj:
    """The new card becomes the customer's default, and that of every subscription. Raises Stripe's 402."""
    customer = live_customer(fake, session["customer"])
    card = cards.attach_to(fake, cards.new_card(fake, number), customer)
    fake.store.notes[card["id"]]["is_set_up"] = True
    with changing(fake, customer, "customer.updated"):
        customer["invoice_settings"] = customer["invoice_settings"] | {"default_payment_method": card["id"]}
    for subscription in subscriptions_of(fake, session):
        with changing(fake, subscription, UPDATED):
            subscription["default_payment_method"] = card["id"]
    return card


ROUTES = [
    Route(
        "POST",
        "/v1/billing_portal/sessions",
        create,
        "billing_portal.SessionCreateParams",
        "customer return_url locale",
    ),
]
