"""Subscriptions at Stripe, and schedules for changes that wait for the end of a period."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.payments.calls.sessions import KEY, PURPOSE
from apps.payments.seen import SubscriptionSeen, read_subscription
from apps.payments.stripe_api import Json, StripeApi, once

PAYG_PURPOSE = "pay_as_you_go"
EXPAND = ["schedule", "latest_invoice"]


def find_subscription(api: StripeApi, subscription_id: str) -> SubscriptionSeen | None:
    """As it is now, with the change that is planned for it."""
    data = api.find(lambda client: client.v1.subscriptions.retrieve(subscription_id, {"expand": [*EXPAND]}))
    return None if data is None else read_subscription(data)


def change_price_now(
    api: StripeApi, *, subscription: SubscriptionSeen, price_id: str, key: str
) -> SubscriptionSeen:
    """Another price at once; the difference for the rest of the period is charged now.

    A trial ends with it: its first month is charged now, since there is nothing to prorate.
    Raises CardDeclined, and then nothing has changed.
    """
    params: Any = {
        "items": [{"id": subscription.item_id, "price": price_id}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "error_if_incomplete",
        "expand": [*EXPAND],
    }
    if subscription.status == "trialing":
        params["trial_end"] = "now"
    return _read(api.ask(lambda client: client.v1.subscriptions.update(subscription.id, params, once(key))))


def change_price_later(api: StripeApi, *, subscription: SubscriptionSeen, price_id: str, key: str) -> None:
    """Another price from the end of the period on; then the schedule lets go of the subscription."""
    schedule_id = subscription.schedule_id
    if not schedule_id:
        created = api.ask(
            lambda client: client.v1.subscription_schedules.create(
                {"from_subscription": subscription.id}, once(f"{key}-schedule")
            )
        )
        schedule_id = str(created["id"])
    start = int(subscription.period_start.timestamp())
    end = int(subscription.period_end.timestamp())
    # A phase without them would end the discounts that hold.
    kept = {"discounts": [{"discount": discount_id} for discount_id in subscription.discount_ids]}
    phases: Any = [
        {
            "items": [{"price": subscription.price_id, "quantity": 1}],
            "start_date": start,
            "end_date": end,
            **(kept if subscription.discount_ids else {}),
        },
        {
            "items": [{"price": price_id, "quantity": 1}],
            "start_date": end,
            "duration": {"interval": "month", "interval_count": 1},
            **(kept if subscription.discount_ids else {}),
        },
    ]
    api.ask(
        lambda client: client.v1.subscription_schedules.update(
            schedule_id,
            {"phases": phases, "end_behavior": "release", "proration_behavior": "none"},
            once(f"{key}-phases"),
        )
    )


def release_schedule(api: StripeApi, schedule_id: str) -> None:
    """Forget a change that was planned; the subscription goes on as it is."""
    api.ask(
        lambda client: client.v1.subscription_schedules.release(
            schedule_id, {}, once(f"release-{schedule_id}")
        )
    )


def set_cancel_at_period_end(
    api: StripeApi, *, subscription_id: str, is_canceled: bool, key: str
) -> SubscriptionSeen:
    return _read(
        api.ask(
            lambda client: client.v1.subscriptions.update(
                subscription_id, {"cancel_at_period_end": is_canceled, "expand": [*EXPAND]}, once(key)
            )
        )
    )


def set_paused(api: StripeApi, *, subscription_id: str, is_paused: bool, key: str) -> SubscriptionSeen:
    """While it is paused, no invoice is collected. Unpausing takes effect with the next one."""
    params: Any = {"pause_collection": {"behavior": "void"} if is_paused else "", "expand": [*EXPAND]}
    return _read(api.ask(lambda client: client.v1.subscriptions.update(subscription_id, params, once(key))))


def cancel_now(api: StripeApi, subscription_id: str) -> None:
    """End it at once, without a final invoice for its period."""
    api.ask(
        lambda client: client.v1.subscriptions.cancel(subscription_id, {}, once(f"cancel-{subscription_id}"))
    )


def create_metered(
    api: StripeApi, *, customer_id: str, price_id: str, key: UUID, is_tax_on: bool
) -> SubscriptionSeen:
    """The subscription that bills pay-as-you-go usage at the end of each month."""
    return _read(
        api.ask(
            lambda client: client.v1.subscriptions.create(
                {
                    "customer": customer_id,
                    "items": [{"price": price_id}],
                    "metadata": {PURPOSE: PAYG_PURPOSE, KEY: str(key)},
                    "automatic_tax": {"enabled": is_tax_on},
                    "expand": [*EXPAND],
                },
                once(f"metered-{key}"),
            )
        )
    )


def list_subscriptions(api: StripeApi, customer_id: str) -> list[SubscriptionSeen]:
    """All of a customer, ended ones included, newest first."""
    rows = api.every(
        lambda client: client.v1.subscriptions.list(
            {
                "customer": customer_id,
                "status": "all",
                "limit": 100,
                "expand": ["data.schedule", "data.latest_invoice"],
            }
        )
    )
    return [_read(row) for row in rows]


def _read(data: Json) -> SubscriptionSeen:
    return read_subscription(data)
