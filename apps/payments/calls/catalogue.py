"""Products, prices and the meter at Stripe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apps.payments.stripe_api import Json, StripeApi, once

METER_EVENT: Final = "darkroom_micro_usd"
"""Name of the meter's events. Their value is micro-USD, so that the sum is our ledger's to the last digit."""
METERED_UNIT_MICRO: Final = 1
"""Micro-USD that one unit of the meter is: what an invoice's quantities count."""
PAYG_LOOKUP: Final = "darkroom-pay-as-you-go"
MICRO_PER_CENT_PRICE: Final = "0.0001"
"""Cents that one unit of the meter, one micro-USD, costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSeen:
    id: str
    product_id: str
    lookup_key: str


def _read_price(data: Json) -> PriceSeen:
    product = data["product"]
    return PriceSeen(
        id=data["id"],
        product_id=product if isinstance(product, str) else product["id"],
        lookup_key=str(data.get("lookup_key") or ""),
    )


def find_price(api: StripeApi, lookup_key: str) -> PriceSeen | None:
    """The active price of that name."""
    rows = api.every(
        lambda client: client.v1.prices.list({"lookup_keys": [lookup_key], "active": True, "limit": 1})
    )
    return next((_read_price(row) for row in rows), None)


def ensure_product(api: StripeApi, *, product_id: str, name: str) -> str:
    """A product with an id of our choice."""
    found = api.find(lambda client: client.v1.products.retrieve(product_id))
    if found is None:
        found = api.ask(
            lambda client: client.v1.products.create(
                {"id": product_id, "name": name}, once(f"product-{product_id}")
            )
        )
    elif found["name"] != name:
        api.ask(lambda client: client.v1.products.update(product_id, {"name": name}))
    return str(found["id"])


def create_monthly_price(
    api: StripeApi, *, product_id: str, lookup_key: str, cents: int, plan_code: str
) -> PriceSeen:
    """What a plan costs a month."""
    return _read_price(
        api.ask(
            lambda client: client.v1.prices.create(
                {
                    "product": product_id,
                    "currency": "usd",
                    "unit_amount": cents,
                    "recurring": {"interval": "month"},
                    "lookup_key": lookup_key,
                    "metadata": {"darkroom_plan": plan_code},
                },
                once(f"price-{lookup_key}-{cents}"),
            )
        )
    )


def ensure_meter(api: StripeApi) -> str:
    """The meter that pay-as-you-go usage is told to; its id."""
    for row in api.every(lambda client: client.v1.billing.meters.list({"status": "active", "limit": 100})):
        if row["event_name"] == METER_EVENT:
            return str(row["id"])
    created = api.ask(
        lambda client: client.v1.billing.meters.create(
            {
                "display_name": "Darkroom usage (micro-USD)",
                "event_name": METER_EVENT,
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            },
            once(f"meter-{METER_EVENT}"),
        )
    )
    return str(created["id"])


def ensure_metered_price(api: StripeApi, *, product_id: str, meter_id: str) -> PriceSeen:
    """A ten-thousandth of a cent for each unit of the meter: exact until the invoice rounds to a cent."""
    found = find_price(api, PAYG_LOOKUP)
    if found is not None:
        return found
    return _read_price(
        api.ask(
            lambda client: client.v1.prices.create(
                {
                    "product": product_id,
                    "currency": "usd",
                    "unit_amount_decimal": MICRO_PER_CENT_PRICE,  # type: ignore[typeddict-item]  # text goes as it is; the stubs say Decimal
                    "recurring": {"interval": "month", "usage_type": "metered", "meter": meter_id},
                    "lookup_key": PAYG_LOOKUP,
                },
                once(f"price-{PAYG_LOOKUP}"),
            )
        )
    )


def find_promotion_code(api: StripeApi, code: str) -> str | None:
    """Id of the active promotion code that customers type as `code`."""
    rows = api.every(
        lambda client: client.v1.promotion_codes.list({"code": code, "active": True, "limit": 1})
    )
    return next((str(row["id"]) for row in rows), None)
