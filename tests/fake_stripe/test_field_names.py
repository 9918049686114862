"""Every name the fake sends or accepts is one of Stripe's OpenAPI document.

The installed `stripe` package is generated from that document: its classes say the fields of objects,
and `stripe.params` those of requests.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from typing import Any

import pytest
import stripe
from stripe._object_classes import OBJECT_CLASSES

from tests.fake_stripe.account import ROUTES
from tests.fake_stripe.client import client_of
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.routes import Route
from tests.fake_stripe.visitor import Visitor

OBJECTS = {
    kind: getattr(importlib.import_module(module), name) for kind, (module, name) in OBJECT_CLASSES.items()
}
FREE_FORM = {"metadata", "payload", "previous_attributes", "fraud_details"}
"""Whose names are the caller's."""


def _parts(annotation: Any) -> list[Any]:
    """Members of unions, elements of lists, and whatever else is wrapped; texts stay texts."""
    inner = typing.get_args(annotation)
    return [part for arg in inner for part in _parts(arg)] if inner else [annotation]


def _hints(owner: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        found |= inspect.get_annotations(base)
    return found


def _class_of(owner: type, annotation: Any) -> type | None:
    """The nested class that a field's annotation names, if it has one."""
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, stripe.StripeObject):
            return part
        name = getattr(part, "__forward_arg__", part if isinstance(part, str) else "")
        nested = getattr(owner, name.rsplit(".", 1)[-1], None) if name else None
        if isinstance(nested, type):
            return nested
    return None


def unknown_names(value: Any, owner: type | None, path: str) -> list[str]:
    """Names inside `value` that the class does not have."""
    if isinstance(value, list):
        return [name for row in value for name in unknown_names(row, owner, path)]
    if not isinstance(value, dict):
        return []
    kind = str(value.get("object"))
    if kind in OBJECTS and kind != "list":
        owner = OBJECTS[kind]
    if kind == "list":
        assert set(value) == {"object", "url", "has_more", "data"}
        return unknown_names(value["data"], None, path)
    if owner is None:
        return []
    hints = _hints(owner)
    wrong = [f"{path}.{name}" for name in value if name not in hints]
    for name, inner in value.items():
        if name in hints and name not in FREE_FORM:
            wrong += unknown_names(inner, _class_of(owner, hints[name]), f"{path}.{name}")
    return wrong


@pytest.fixture
def lived_in(fake_stripe: Fake) -> Fake:
    """A fake that holds at least one object of every kind it knows."""
    client = client_of(fake_stripe)
    v1 = client.v1
    meter = v1.billing.meters.create(
        {
            "display_name": "Usage",
            "event_name": "usage",
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "value_settings": {"event_payload_key": "value"},
        }
    )
    month: Any = {"interval": "month"}
    product = v1.products.create({"name": "Standard"})
    price = v1.prices.create(
        {"product": product.id, "currency": "usd", "unit_amount": 4700, "recurring": month}
    )
    dearer = v1.prices.create(
        {"product": product.id, "currency": "usd", "unit_amount": 19900, "recurring": month}
    )
    metered: Any = {
        "product": product.id,
        "currency": "usd",
        "unit_amount_decimal": "0.0001",
        "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
    }
    usage_price = v1.prices.create(metered)
    coupon = v1.coupons.create({"percent_off": 50, "duration": "repeating", "duration_in_months": 3})
    v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "HALF"})
    customer = v1.customers.create({"name": "Ada", "email": "ada@example.com"})
    session = v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "customer_update": {"address": "auto"},
            "success_url": "http://testserver/ok",
            "line_items": [{"price": price.id, "quantity": 1}],
            "automatic_tax": {"enabled": True},
            "allow_promotion_codes": True,
        }
    )
    Visitor(fake_stripe).pay(str(session.url), promotion_code="HALF")
    subscription = v1.subscriptions.list({"customer": customer.id}).data[0]
    item = subscription["items"]["data"][0]
    change: Any = {"items": [{"id": item.id, "price": dearer.id}], "proration_behavior": "create_prorations"}
    v1.subscriptions.update(subscription.id, change)
    v1.subscription_schedules.create({"from_subscription": subscription.id})
    v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": usage_price.id}],
            "default_payment_method": str(v1.subscriptions.retrieve(subscription.id).default_payment_method),
        }
    )
    v1.billing.meter_events.create(
        {"event_name": "usage", "payload": {"stripe_customer_id": customer.id, "value": "5000000"}}
    )
    intent = v1.payment_intents.create(
        {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    v1.refunds.create({"payment_intent": intent.id, "amount": 300})
    disputed = v1.payment_intents.create(
        {"amount": 1000, "currency": "usd", "payment_method": "pm_card_createDispute", "confirm": True}
    )
    assert disputed.status == "succeeded"
    setup: Any = {"customer": customer.id, "confirm": True}
    v1.setup_intents.create({**setup, "payment_method": "pm_card_authenticationRequiredOnSetup"})
    v1.billing_portal.sessions.create({"customer": customer.id, "return_url": "http://testserver/"})
    v1.webhook_endpoints.create({"url": "http://127.0.0.1:1/hook", "enabled_events": ["*"]})
    fake_stripe.advance(days=40)
    return fake_stripe


EVERY_KIND = {
    "balance_transaction",
    "billing.meter",
    "billing.meter_event",
    "billing_portal.session",
    "charge",
    "checkout.session",
    "coupon",
    "customer",
    "discount",
    "dispute",
    "event",
    "invoice",
    "invoice_payment",
    "invoiceitem",
    "payment_intent",
    "payment_method",
    "price",
    "product",
    "promotion_code",
    "refund",
    "setup_intent",
    "subscription",
    "subscription_schedule",
    "webhook_endpoint",
}


def test_every_object_has_only_names_of_stripes(lived_in: Fake) -> None:
    assert {kind for kind, count in lived_in.store.counts().items() if count} == EVERY_KIND
    wrong: set[str] = set()
    for kind in EVERY_KIND:
        for row in lived_in.store.every(kind):
            # The store's own key of something that has no id at Stripe.
            shown = {k: v for k, v in row.items() if (kind, k) != ("billing.meter_event", "id")}
            wrong |= set(unknown_names(shown, None, kind))
    assert wrong == set()


def test_every_event_is_one_of_stripes(lived_in: Fake) -> None:
    known = set(typing.get_args(stripe.Event.__annotations__["type"]))
    assert {row["type"] for row in lived_in.store.every("event")} <= known


def test_the_check_sees_a_wrong_name() -> None:
    subscription = {
        "object": "subscription",
        "id": "sub_1",
        "current_period_end": 1,
        "automatic_tax": {"on": 1},
    }
    assert unknown_names(subscription, None, "subscription") == [
        "subscription.current_period_end",
        "subscription.automatic_tax.on",
    ]


def _params_class(dotted: str) -> type:
    package, _, name = dotted.rpartition(".")
    module: types.ModuleType = importlib.import_module(
        f"stripe.params.{package}" if package else "stripe.params"
    )
    found: type = getattr(module, name)
    return found


def _is_typed_dict(found: Any) -> bool:
    """The package's are those of typing_extensions, which `typing.is_typeddict` does not know."""
    return isinstance(found, type) and hasattr(found, "__required_keys__")


def _resolve(owner: type, annotation: Any) -> type | None:
    """The TypedDict that an annotation of a parameter names."""
    module = importlib.import_module(owner.__module__)
    for part in _parts(annotation):
        text = getattr(part, "__forward_arg__", part if isinstance(part, str) else "")
        if _is_typed_dict(part):
            return part
        for name in str(text).replace("[", "|").replace("]", "|").replace('"', "").split("|"):
            found = getattr(module, name.strip(), None)
            if _is_typed_dict(found):
                resolved: type = found
                return resolved
    return None


def missing_params(route: Route) -> list[str]:
    wrong = []
    for name in route.accepted():
        owner: type | None = _params_class(route.params_type)
        for part in name.split("."):
            if part == "*" or owner is None:
                break
            hints = typing.cast("Any", owner).__annotations__
            if part not in hints:
                wrong.append(f"{route.params_type}.{name}")
                break
            owner = _resolve(owner, hints[part])
    return wrong


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_accepted_parameter_is_one_of_stripes(route: Route) -> None:
    assert missing_params(route) == []


def test_the_check_of_parameters_sees_a_wrong_name() -> None:
    route = Route("POST", "/v1/x", dict, "SubscriptionCreateParams", "items.prices customer")
    assert missing_params(route) == ["SubscriptionCreateParams.items.prices"]
