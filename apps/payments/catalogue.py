"""Plans as products and prices at Stripe. A price there never changes: a new amount is a new price."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.money import format_usd, to_cents
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


def lookup_key_of(plan: Plan, amount_micro: int) -> str:
    """What a price of the plan is called at Stripe: what all pay, or what an account's contract says."""
    return f"darkroom-{plan.code}-{amount_micro}"


def ensure_price(api: StripeApi, *, plan: Plan, amount_micro: int, now: datetime) -> StripePrice:
    """The plan's price of `amount_micro` a month at Stripe, made there if need be.

    Raises Conflict for nothing, and for an amount that is not in whole cents.
    """
    lookup_key = lookup_key_of(plan, amount_micro)
    row = StripePrice.objects.filter(lookup_key=lookup_key, is_live=api.config.is_live).first()
    if row is not None:
        return row
    cents, remainder = to_cents(amount_micro)
    if cents <= 0 or remainder:
        raise Conflict(
            problem=f"The price of {plan.name} for this account, {format_usd(amount_micro)}, cannot be paid "
            "by card; ask whoever runs this service to set the plan for you."
        )
    seen = find_price(api, lookup_key)
    if seen is None:
        product_id = ensure_product(api, product_id=f"darkroom-{plan.code}", name=plan.name)
        seen = create_monthly_price(
            api, product_id=product_id, lookup_key=lookup_key, cents=cents, plan_code=plan.code
        )
    return _remember(seen, plan=plan, amount_micro=amount_micro, is_live=api.config.is_live, now=now)


def _remember(seen: PriceSeen, *, plan: Plan, amount_micro: int, is_live: bool, now: datetime) -> StripePrice:
    row, _ = StripePrice.objects.get_or_create(
        lookup_key=lookup_key_of(plan, amount_micro),
        is_live=is_live,
        defaults={
            "plan": plan,
            "price_id": seen.id,
            "product_id": seen.product_id,
            "amount_micro": amount_micro,
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
        price = ensure_price(api, plan=plan, amount_micro=plan.price_micro, now=now)
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
