"""Subscriptions: how they begin, are read, listed and end. Changes are in `subscription_updates`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fake_stripe import coupons, invoices
from tests.fake_stripe.clock import DAY_S, next_boundary
from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import invalid, required
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page
from tests.fake_stripe.subscription_bills import bill, period_lines
from tests.fake_stripe.subscription_objects import (
    ENDED_STATES,
    blank_subscription,
    item_object,
    quantity_for,
    read_price,
)
from tests.fake_stripe.subscription_states import end

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

BEHAVIOURS = {"allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"}
MISSING_CARD = {"cancel", "create_invoice", "pause"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a subscription is to be, from the API or from Checkout."""

    customer: Obj
    items: list[tuple[Obj, int | None]]
    metadata: dict[str, str] = field(default_factory=dict)
    discounts: list[tuple[Obj, Obj | None]] = field(default_factory=list)
    trial_end: int | None = None
    missing_card: str = "create_invoice"
    card: str | None = None
    is_taxed: bool = False
    behaviour: str = "allow_incomplete"
    is_on_session: bool = False
    description: str | None = None
    session: str | None = None


def read_trial_end(fake: Fake, params: Params) -> int | None:
    """From `trial_end` or `trial_period_days`; None: no trial."""
    now = fake.clock.now()
    if days := params.whole("trial_period_days"):
        return now + days * DAY_S
    if params.text("trial_end") in {None, "now"}:
        return None
    at = params.whole("trial_end")
    if at is not None and at <= now:
        raise invalid("trial_end must be in the future", param="trial_end")
    return at


def require_tax_location(customer: Obj) -> None:
    """Stripe Tax needs to know where the customer is."""
    if not (customer["address"] or {}).get("country"):
        raise invalid(
            "The customer's location isn't recognized. Set a valid customer address in order to automatically"
            " calculate tax.",
            code="customer_tax_location_invalid",
        )


def begin(fake: Fake, wish: Wish) -> Obj:
    """Makes it, its first invoice, and tries to be paid. Raises Stripe's 402 where the wish says so."""
    now = fake.clock.now()
    interval = wish.items[0][0]["recurring"]
    anchor = wish.trial_end or now
    ends = wish.trial_end or next_boundary(
        now, now, interval=interval["interval"], count=interval["interval_count"]
    )
    subscription = blank_subscription(fake, customer=wish.customer["id"], anchor=anchor)
    subscription["items"]["data"] = [
        item_object(fake, subscription["id"], price, quantity, period=(now, ends))
        for price, quantity in wish.items
    ]
    subscription.update(
        metadata=wish.metadata,
        description=wish.description,
        default_payment_method=wish.card,
        trial_start=now if wish.trial_end else None,
        trial_end=wish.trial_end,
        trial_settings={"end_behavior": {"missing_payment_method": wish.missing_card}},
        status="trialing" if wish.trial_end else "incomplete",
    )
    subscription["automatic_tax"] = subscription["automatic_tax"] | {
        "enabled": wish.is_taxed,
        "liability": {"type": "self"} if wish.is_taxed else None,
    }
    fake.store.add(subscription)
    subscription["discounts"] = [
        coupons.redeem(
            fake,
            coupon,
            code,
            customer=wish.customer["id"],
            subscription=subscription["id"],
            session=wish.session,
        )["id"]
        for coupon, code in wish.discounts
    ]
    emit(fake, "customer.subscription.created", subscription)
    _pay_first(fake, subscription, wish)
    return subscription


def _pay_first(fake: Fake, subscription: Obj, wish: Wish) -> None:
    invoice = bill(fake, subscription, period_lines(fake, subscription), reason="subscription_create")
    invoices.finalize(fake, invoice)
    if wish.behaviour == "default_incomplete":
        return
    refusal = invoices.collect(fake, invoice, off_session=not wish.is_on_session)
    is_paid = invoice["status"] == "paid"
    if wish.behaviour == "error_if_incomplete" and not is_paid:
        raise refusal or invalid(
            "The first payment needs its owner's word.", code="subscription_payment_intent_requires_action"
        )


def create(fake: Fake, params: Params) -> Obj:
    customer = live_customer(fake, params.need("customer"))
    rows = params.rows("items")
    if not rows:
        raise required("items")
    items = [(price := read_price(fake, row), quantity_for(price, row)) for row in rows]
    is_taxed = params.node("automatic_tax").flag("enabled")
    if is_taxed:
        require_tax_location(customer)
    end_behaviour = params.node("trial_settings").node("end_behavior")
    wish = Wish(
        customer=customer,
        items=items,
        metadata=merge_metadata({}, params),
        discounts=coupons.chosen(fake, params.rows("discounts")),
        trial_end=read_trial_end(fake, params),
        missing_card=end_behaviour.choice("missing_payment_method", MISSING_CARD, "create_invoice"),
        card=_card_of(fake, customer, params),
        is_taxed=is_taxed,
        behaviour=params.choice("payment_behavior", BEHAVIOURS, "allow_incomplete"),
        is_on_session=params.text("off_session") != "true",
        description=params.text("description"),
    )
    if wish.trial_end is None and wish.behaviour == "allow_incomplete":
        _require_card(fake, wish)
    with fake.all_or_nothing():
        subscription = begin(fake, wish)
        if params.flag("cancel_at_period_end"):
            set_cancel_at_period_end(fake, subscription, is_canceled=True)
        return subscription


def _require_card(fake: Fake, wish: Wish) -> None:
    is_free = all(quantity is None or price["unit_amount_decimal"] == "0" for price, quantity in wish.items)
    if not is_free and not (wish.card or wish.customer["invoice_settings"]["default_payment_method"]):
        raise invalid(
            "This customer has no attached payment source or default payment method.",
            code="resource_missing",
        )


def _card_of(fake: Fake, customer: Obj, params: Params) -> str | None:
    card_id = params.text("default_payment_method")
    if card_id is None:
        return None
    card = fake.store.get("payment_method", card_id, param="default_payment_method")
    if card["customer"] != customer["id"]:
        raise invalid("The payment method must be attached to the customer.", param="default_payment_method")
    return card_id


def set_cancel_at_period_end(fake: Fake, subscription: Obj, *, is_canceled: bool) -> None:
    """Marks it to end with its period, or takes that back. Emits nothing."""
    details = subscription["cancellation_details"]
    subscription.update(
        cancel_at_period_end=is_canceled,
        cancel_at=subscription["items"]["data"][0]["current_period_end"] if is_canceled else None,
        canceled_at=fake.clock.now() if is_canceled else None,
        cancellation_details=details | {"reason": "cancellation_requested" if is_canceled else None},
    )


def live_subscription(fake: Fake, subscription_id: str) -> Obj:
    """One that has not ended. Raises Stripe's 404 and 400."""
    subscription = fake.store.get("subscription", subscription_id)
    if subscription["status"] in ENDED_STATES:
        raise invalid(
            f"No such subscription: '{subscription_id}' (a canceled subscription can only update its"
            " cancellation_details and metadata).",
            code="resource_missing",
            param="id",
        )
    return subscription


def cancel(fake: Fake, params: Params, subscription_id: str) -> Obj:
    subscription = live_subscription(fake, subscription_id)
    details = params.node("cancellation_details")
    words = {name: details.text(name) for name in ("comment", "feedback") if name in details}
    subscription["cancellation_details"] = subscription["cancellation_details"] | words
    return end(fake, subscription, reason="cancellation_requested", is_billed=params.flag("invoice_now"))


def end_all_of(fake: Fake, customer: Obj) -> None:
    for subscription in fake.store.every("subscription"):
        if subscription["customer"] == customer["id"] and subscription["status"] not in ENDED_STATES:
            end(fake, subscription, reason="cancellation_requested")


def retrieve(fake: Fake, params: Params, subscription_id: str) -> Obj:
    return fake.store.get("subscription", subscription_id)


def list_subscriptions(fake: Fake, params: Params) -> Obj:
    customer, price, status = params.text("customer"), params.text("price"), params.text("status")

    def is_wanted(row: Obj) -> bool:
        is_in_state = {None: row["status"] != "canceled", "all": True, "ended": row["status"] in ENDED_STATES}
        return (
            is_in_state.get(status, row["status"] == status)
            and (customer is None or row["customer"] == customer)
            and (price is None or any(item["price"]["id"] == price for item in row["items"]["data"]))
        )

    return page(fake.store.every("subscription"), params, url="/v1/subscriptions", keep=is_wanted)


def retrieve_item(fake: Fake, params: Params, item_id: str) -> Obj:
    for subscription in fake.store.every("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == item_id:
                found: Obj = item
                return found
    return fake.store.get("subscription_item", item_id)


def delete_discount(fake: Fake, params: Params, subscription_id: str) -> Obj:
    subscription = live_subscription(fake, subscription_id)
    with changing(fake, subscription, "customer.subscription.updated"):
        removed, subscription["discounts"] = subscription["discounts"], []
    return {"id": removed[0] if removed else "", "object": "discount", "deleted": True}


ROUTES = [
    Route(
        "POST",
        "/v1/subscriptions",
        create,
        "SubscriptionCreateParams",
        "customer items.price items.quantity items.metadata.* default_payment_method"
        " payment_behavior off_session"
        " trial_end trial_period_days trial_settings.end_behavior.missing_payment_method metadata.*"
        " description"
        " automatic_tax.enabled cancel_at_period_end discounts.coupon discounts.promotion_code"
        " items.price_data.currency items.price_data.product items.price_data.unit_amount"
        " items.price_data.recurring.interval",
    ),
    Route(
        "GET",
        "/v1/subscriptions",
        list_subscriptions,
        "SubscriptionListParams",
        "customer price status created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/subscriptions/{id}", retrieve, "SubscriptionRetrieveParams"),
    Route(
        "DELETE",
        "/v1/subscriptions/{id}",
        cancel,
        "SubscriptionCancelParams",
        "expand invoice_now cancellation_details.comment cancellation_details.feedback",
    ),
    Route("DELETE", "/v1/subscriptions/{id}/discount", delete_discount, "SubscriptionDeleteDiscountParams"),
    Route("GET", "/v1/subscription_items/{id}", retrieve_item, "SubscriptionItemRetrieveParams"),
]
