"""Our coupons on plans that Stripe bills: each is mirrored as a coupon of Stripe's, which takes it off."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.billing.money import to_cents
from apps.core.errors import DomainError
from apps.payments.calls.coupons import ensure_coupon, give_discount
from apps.payments.plan_changes import current_subscription
from apps.payments.seen import SubscriptionSeen
from apps.payments.stripe_api import StripeApi
from apps.payments.subscribed import find_open_subscription
from apps.plans import coupons
from apps.plans.choices import CouponKind
from apps.plans.discounts import find_discount, give_back_discount, take_discount
from apps.plans.errors import CouponRefused
from apps.plans.models import Coupon


def mirror_coupon(api: StripeApi, coupon: Coupon) -> str:
    """Its id at Stripe, where it is made if need be. What it is worth is in the id: that may change unused.

    Raises CouponRefused for an amount that Stripe cannot take off.
    """
    is_percent = coupon.kind == CouponKind.PERCENT
    cents, remainder = to_cents(coupon.value)
    if not is_percent and remainder:
        raise CouponRefused(
            problem=f"The coupon {coupon.code} is not in whole cents, which plans paid by card are."
        )
    return ensure_coupon(
        api,
        coupon_id=f"darkroom-{coupon.code}-{coupon.kind}-{coupon.value}-{coupon.months}",
        name=coupon.code,
        percent=coupon.value if is_percent else None,
        cents=None if is_percent else cents,
        months=coupon.months,
    )


def redeem_coupon(*, account: Account, code: str, actor: Ref, now: datetime) -> None:
    """Use a coupon: credit at once, a discount from the next invoice on, whoever bills the plan.

    Raises CouponRefused, and what Stripe's calls raise, having counted nothing.
    """
    coupon = coupons.find_coupon(code, now=now)
    if coupon.kind == CouponKind.CREDIT or find_open_subscription(account) is None:
        coupons.redeem_coupon(account=account, code=code, actor=actor, now=now)
        return
    with current_subscription(account, now=now) as (api, seen):
        subscription = find_open_subscription(account)
        if subscription is not None:
            find_discount(code, plan=subscription.plan, now=now)
        _require_room(coupon, seen)
        coupon_id = mirror_coupon(api, coupon)
        with transaction.atomic(durable=True):
            redemption = take_discount(account=account, coupon=coupon, actor=actor, now=now)
        try:
            key = f"discount-{redemption.pk}"
            give_discount(api, subscription_id=seen.id, coupon_id=coupon_id, key=key)
        except DomainError:
            with transaction.atomic(durable=True):
                give_back_discount(redemption, actor=actor, now=now)
            raise


def _require_room(coupon: Coupon, seen: SubscriptionSeen) -> None:
    if seen.discount_ids:
        raise CouponRefused(
            problem=f"Another discount holds for the plan; use {coupon.code} when that has ended."
        )
    if seen.schedule_id:
        raise CouponRefused(
            problem=f"The plan is about to change; use {coupon.code} then, or take back the change."
        )
