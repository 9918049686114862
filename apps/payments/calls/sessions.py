"""Stripe's own pages: Checkout and the billing portal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from apps.payments.seen import SessionSeen, read_session
from apps.payments.stripe_api import StripeApi, once

PURPOSE = "darkroom_purpose"
"""Of the metadata of sessions, intents and subscriptions: a PaymentKind or CheckoutKind."""
KEY = "darkroom_key"
"""Of the metadata: the key of our row."""
NO_KEY = UUID(int=0)
"""The key that no row has."""


def own_key(metadata: Mapping[str, str]) -> UUID:
    """Key of our row that an object of Stripe's names; NO_KEY for what is none of ours."""
    try:
        return UUID(metadata.get(KEY, ""))
    except ValueError:
        return NO_KEY


def create_session(
    api: StripeApi,
    *,
    key: UUID,
    customer_id: str,
    success_url: str,
    cancel_url: str,
    what: Mapping[str, Any],
) -> SessionSeen:
    """A visit to Checkout; `what` is what differs between kinds (Any: Stripe's parameters)."""
    params: Any = {
        "customer": customer_id,
        "success_url": success_url,
        "cancel_url": cancel_url,
        "client_reference_id": str(key),
        **what,
    }
    return read_session(
        api.ask(lambda client: client.v1.checkout.sessions.create(params, once(f"checkout-{key}")))
    )


def plan_session(
    *, price_id: str, key: UUID, trial_days: int, discount: Mapping[str, str], is_tax_on: bool
) -> Mapping[str, Any]:
    """Parameters of a visit that subscribes to a plan; `discount` is a coupon, a promotion code or empty."""
    subscription: dict[str, Any] = {"metadata": {PURPOSE: "plan", KEY: str(key)}}
    if trial_days:
        subscription["trial_period_days"] = trial_days
        # A trial without a card ends with the trial, not with an invoice that nobody can pay.
        subscription["trial_settings"] = {"end_behavior": {"missing_payment_method": "cancel"}}
    params: dict[str, Any] = {
        "mode": "subscription",
        "line_items": [{"price": price_id, "quantity": 1}],
        "subscription_data": subscription,
        "metadata": {PURPOSE: "plan", KEY: str(key)},
        **_taxes(is_tax_on),
    }
    if discount:
        params["discounts"] = [discount]
    else:
        params["allow_promotion_codes"] = True
    return params


def top_up_session(*, cents: int, key: UUID) -> Mapping[str, Any]:
    """Parameters of a visit that fills the wallet."""
    metadata = {PURPOSE: "top_up", KEY: str(key)}
    item = {"currency": "usd", "unit_amount": cents, "product_data": {"name": "Wallet top-up"}}
    return {
        "mode": "payment",
        "line_items": [{"price_data": item, "quantity": 1}],
        "payment_intent_data": {"metadata": metadata},
        "metadata": metadata,
    }


def card_session(*, key: UUID) -> Mapping[str, Any]:
    """Parameters of a visit that puts a card on file."""
    metadata = {PURPOSE: "card", KEY: str(key)}
    return {
        "mode": "setup",
        "currency": "usd",
        "allowed_payment_method_types": ["card"],
        "setup_intent_data": {"metadata": metadata},
        "metadata": metadata,
    }


def _taxes(is_on: bool) -> dict[str, Any]:
    """Stripe Tax needs the address that the customer types at Checkout."""
    if not is_on:
        return {}
    return {
        "automatic_tax": {"enabled": True},
        "customer_update": {"address": "auto", "name": "auto"},
        "tax_id_collection": {"enabled": True},
    }


def find_session(api: StripeApi, session_id: str) -> SessionSeen | None:
    data = api.find(lambda client: client.v1.checkout.sessions.retrieve(session_id))
    return None if data is None else read_session(data)


def expire_session(api: StripeApi, session_id: str) -> SessionSeen:
    """Nobody can pay there any more. Raises PaymentRefused for one that is not open."""
    return read_session(
        api.ask(
            lambda client: client.v1.checkout.sessions.expire(session_id, {}, once(f"expire-{session_id}"))
        )
    )


def create_portal_session(api: StripeApi, *, customer_id: str, return_url: str) -> str:
    """Address of the page where a customer changes cards and sees invoices."""
    data = api.ask(
        lambda client: client.v1.billing_portal.sessions.create(
            {"customer": customer_id, "return_url": return_url}
        )
    )
    return str(data["url"])
