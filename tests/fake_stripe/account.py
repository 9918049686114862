"""The account itself, and putting the fake together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fake_stripe import (
    cards,
    charges,
    checkout,
    checkout_visits,
    coupons,
    customers,
    disputes,
    events,
    intent_requests,
    invoice_requests,
    invoices,
    meters,
    portal,
    products,
    refunds,
    schedules,
    setups,
    subscription_periods,
    subscription_states,
    subscription_updates,
    subscriptions,
    webhooks,
)
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.fake import NOON_2_MARCH_2026, Fake
from tests.fake_stripe.params import Params
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj

if TYPE_CHECKING:
    from types import ModuleType


def retrieve(fake: Fake, params: Params) -> Obj:
    return {
        "id": "acct_fake",
        "object": "account",
        "business_profile": {"name": "Fake", "url": None},
        "business_type": "company",
        "charges_enabled": True,
        "country": "US",
        "created": NOON_2_MARCH_2026,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


MODULES: list[ModuleType] = [
    cards,
    charges,
    checkout,
    coupons,
    customers,
    disputes,
    events,
    intent_requests,
    invoice_requests,
    meters,
    portal,
    products,
    refunds,
    schedules,
    setups,
    subscription_updates,
    subscriptions,
    webhooks,
]
ROUTES: list[Route] = [
    Route("GET", "/v1/account", retrieve, "AccountRetrieveCurrentParams"),
    *(route for module in MODULES for route in module.ROUTES),
]


def assemble(*, start: int = NOON_2_MARCH_2026, is_running: bool = False, **options: Any) -> Fake:
    """A fake with everything wired, and nothing in it."""
    fake = Fake(clock=Clock(start, is_running=is_running), **options)
    fake.due_sources += [schedules.dues, subscription_periods.dues, invoices.dues, checkout.dues]
    fake.when_intent_changes += [invoices.follow_intent, checkout_visits.follow_intent]
    fake.when_invoice_changes.append(subscription_states.follow_invoice)
    fake.when_customer_goes.append(subscriptions.end_all_of)
    return fake
