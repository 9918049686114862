"""The shape of subscriptions and their items, and reading the items that a request names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fake_stripe.errors import invalid
from tests.fake_stripe.params import Params
from tests.fake_stripe.products import make_price
from tests.fake_stripe.store import Obj, as_list

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

ENDED_STATES = {"canceled", "incomplete_expired"}


def read_price(fake: Fake, row: Params) -> Obj:
    """The recurring price of an item. Raises Stripe's 400 for others."""
    if node := row.node("price_data"):
        return make_price(fake, node, is_inline=True)
    price = fake.store.get("price", row.need("price"), param=row.path_of("price"))
    if price["recurring"] is None:
        raise invalid(
            f"The price specified is set to `type=one_time` but this field only accepts prices with"
            f" `type=recurring`: {price['id']}.",
            param=row.path_of("price"),
        )
    if not price["active"]:
        raise invalid(f"The price specified is inactive: {price['id']}.", param=row.path_of("price"))
    return price


def quantity_for(price: Obj, row: Params) -> int | None:
    """Metered prices have none; others one unless told otherwise."""
    quantity = row.whole("quantity")
    if price["recurring"]["usage_type"] == "metered":
        if quantity is not None:
            raise invalid("You cannot set the quantity of a metered price.", param=row.path_of("quantity"))
        return None
    if quantity is not None and quantity < 0:
        raise invalid("Invalid non-negative integer", param=row.path_of("quantity"))
    return 1 if quantity is None else quantity


def item_object(
    fake: Fake, subscription_id: str, price: Obj, quantity: int | None, *, period: tuple[int, int]
) -> Obj:
    item = {
        "id": fake.store.new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": fake.clock.now(),
        "current_period_end": period[1],
        "current_period_start": period[0],
        "discounts": [],
        "metadata": {},
        "plan": _plan_of(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }
    if quantity is None:
        del item["quantity"]
    return item


def set_price(item: Obj, price: Obj) -> None:
    item.update(price=price, plan=_plan_of(price))


def _plan_of(price: Obj) -> dict[str, Any]:
    """Stripe still sends the old name of prices beside the new one."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def blank_subscription(fake: Fake, *, customer: str, anchor: int) -> Obj:
    object_id, now = fake.store.new_id("sub"), fake.clock.now()
    return {
        "id": object_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": anchor,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": "usd",
        "customer": customer,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": as_list([], url=f"/v1/subscription_items?subscription={object_id}"),
        "latest_invoice": None,
        "livemode": False,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


def items_of(subscription: Obj) -> list[Obj]:
    rows: list[Obj] = subscription["items"]["data"]
    return rows


def period_of(subscription: Obj) -> tuple[int, int]:
    """All items of one subscription share it here."""
    item = items_of(subscription)[0]
    return item["current_period_start"], item["current_period_end"]


def set_period(subscription: Obj, start: int, end: int) -> None:
    for item in items_of(subscription):
        item.update(current_period_start=start, current_period_end=end)


def interval_of(subscription: Obj) -> tuple[str, int]:
    recurring = items_of(subscription)[0]["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]
