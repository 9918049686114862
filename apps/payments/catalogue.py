"""Plans as products and prices at Stripe. A price there never changes: a new amount is a new price."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.money import to_cents
from apps.core.errors import Conflict
from apps.payments.calls.catalogue import (
    PriceSeen,
    create_monthly_price,
    ensure_meter,
    ensure_metered_price,
    ensure_product,
    find_price,
)
from apps.payments.models import StripePrice
from apps.payments.stripe_api import StripeApi
from apps.plans.models import Plan

PAYG_PRODUCT = "darkroom-pay-as-you-go"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedPlan:
    """One line of `manage.py stripe sync-plans`."""

    plan_code: str
    price_id: str
    is_new: bool


def lookup_key_of(plan: Plan) -> str:
    """What the price of the plan as it is now is called at Stripe."""
    return f"darkroom-{plan.code}-{plan.price_micro}"


def ensure_price(api: StripeApi, *, plan: Plan, now: datetime) -> StripePrice:
    """The plan's price at Stripe, made there if need be.

    Raises Conflict for a plan that is free, or whose price is not in whole cents.
    """
    lookup_key = lookup_key_of(plan)
    row = StripePrice.objects.filter(lookup_key=lookup_key, is_live=api.config.is_live).first()
    if row is not None:
        return row
    cents, remainder = to_cents(plan.price_micro)
    if cents <= 0 or remainder:
        raise Conflict(problem=f"The plan {plan.name} has no price in whole cents to be paid by card.")
    seen = find_price(api, lookup_key)
    if seen is None:
        product_id = ensure_product(api, product_id=f"darkroom-{plan.code}", name=plan.name)
        seen = create_monthly_price(
            api, product_id=product_id, lookup_key=lookup_key, cents=cents, plan_code=plan.code
        )
    return _remember(seen, plan=plan, is_live=api.config.is_live, now=now)


def _remember(seen: PriceSeen, *, plan: Plan, is_live: bool, now: datetime) -> StripePrice:
    row, _ = StripePrice.objects.get_or_create(
        lookup_key=lookup_key_of(plan),
        is_live=is_live,
        defaults={
            "plan": plan,
            "price_id": seen.id,
            "product_id": seen.product_id,
            "amount_micro": plan.price_micro,
            "created_at": now,
        },
    )
    return row


def find_plan(price_id: str) -> Plan | None:
    """The plan that is sold under a price; None for prices that are none of ours."""
    row = StripePrice.objects.select_related("plan").filter(price_id=price_id).first()
    return row.plan if row is not None else None


def sync_plans(api: StripeApi, *, actor: Ref, now: datetime) -> list[SyncedPlan]:
    """Make products and prices for every plan that is for sale, and the meter for pay as you go."""
    synced = []
    for plan in Plan.objects.filter(price_micro__gt=0, archived_at=None, is_public=True):
        known = set(StripePrice.objects.values_list("price_id", flat=True))
        price = ensure_price(api, plan=plan, now=now)
        is_new = price.price_id not in known
        synced.append(SyncedPlan(plan_code=plan.code, price_id=price.price_id, is_new=is_new))
    metered = metered_price(api)
    synced.append(SyncedPlan(plan_code="pay as you go", price_id=metered.id, is_new=False))
    with transaction.atomic(durable=True):
        subject = Ref(kind="stripe_settings", id=1, label="Stripe")
        data = {"prices": [each.price_id for each in synced]}
        audit.record("payments.plans.synced", actor=actor, subject=subject, data=data, now=now)
    return synced


def metered_price(api: StripeApi) -> PriceSeen:
    """What pay as you go is billed under; made at Stripe if need be."""
    found = find_price(api, PAYG_PRODUCT)
    if found is not None:
        return found
    product_id = ensure_product(api, product_id=PAYG_PRODUCT, name="Pay as you go")
    return ensure_metered_price(api, product_id=product_id, meter_id=ensure_meter(api))
