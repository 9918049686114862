"""Coupons at Stripe, and the discounts that they give."""

from __future__ import annotations

from typing import Any

from apps.payments.seen import SubscriptionSeen, read_subscription
from apps.payments.stripe_api import StripeApi, once

EXPAND = ["schedule", "latest_invoice"]
NAME_CHARS = 40


def ensure_coupon(
    api: StripeApi, *, coupon_id: str, name: str, percent: int | None, cents: int | None, months: int
) -> str:
    """A coupon with an id of our choice: `percent`, or `cents`, off each of `months` invoices."""
    if api.find(lambda client: client.v1.coupons.retrieve(coupon_id)) is not None:
        return coupon_id
    params: dict[str, Any] = {"id": coupon_id, "name": name[:NAME_CHARS]}
    if percent is not None:
        params["percent_off"] = percent
    else:
        params |= {"amount_off": cents, "currency": "usd"}
    params |= {"duration": "repeating", "duration_in_months": months} if months > 1 else {"duration": "once"}
    wanted: Any = params
    api.ask(lambda client: client.v1.coupons.create(wanted, once(f"coupon-{coupon_id}")))
    return coupon_id


def give_discount(api: StripeApi, *, subscription_id: str, coupon_id: str, key: str) -> SubscriptionSeen:
    """The coupon makes the subscription's next invoices cheaper; it must have no discount yet."""
    return read_subscription(
        api.ask(
            lambda client: client.v1.subscriptions.update(
                subscription_id, {"discounts": [{"coupon": coupon_id}], "expand": [*EXPAND]}, once(key)
            )
        )
    )
