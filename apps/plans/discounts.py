"""Coupons that make a plan cheaper which somebody else bills: counted here, taken off there.

The months for which they hold are counted there, too, so that no redemption here has any left.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import F

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.plans.choices import CouponKind
from apps.plans.coupons import find_coupon, take_coupon
from apps.plans.errors import CouponRefused
from apps.plans.models import Coupon, Plan, Redemption


def is_coupon(code: str) -> bool:
    """Whether a coupon of ours has the code, usable or not."""
    typed = code.strip().upper()
    return "\0" not in typed and Coupon.objects.filter(code=typed).exists()


def find_discount(code: str, *, plan: Plan, now: datetime) -> Coupon:
    """The coupon that somebody typed, if it makes `plan` cheaper now. Raises CouponRefused."""
    coupon = find_coupon(code, now=now)
    if coupon.kind == CouponKind.CREDIT:
        raise CouponRefused(
            problem=f"The coupon {coupon.code} is credit and no discount: redeem it on the billing page."
        )
    if coupon.plans.exists() and not coupon.plans.filter(pk=plan.pk).exists():
        raise CouponRefused(problem=f"The coupon {coupon.code} is not for the plan {plan.name}.")
    return coupon


def take_discount(*, account: Account, coupon: Coupon, actor: Ref, now: datetime) -> Redemption:
    """Count one redemption of a discount that is taken off elsewhere; a part. Raises CouponRefused."""
    require_transaction()
    redemption = take_coupon(account=account, coupon=coupon, now=now)
    redemption.months_left = 0
    redemption.save(update_fields=["months_left"])
    _record("plans.coupon.redeemed", redemption, actor, now)
    return redemption


def give_back_discount(redemption: Redemption, *, actor: Ref, now: datetime) -> None:
    """Nothing was taken off after all: the coupon may be used again; a part. Twice is once."""
    require_transaction()
    deleted, _ = Redemption.objects.filter(pk=redemption.pk).delete()
    if not deleted:
        return
    Coupon.objects.filter(pk=redemption.coupon_id).update(redemptions=F("redemptions") - 1)
    _record("plans.coupon.given_back", redemption, actor, now)


def _record(name: str, redemption: Redemption, actor: Ref, now: datetime) -> None:
    coupon = redemption.coupon
    audit.record(
        name,
        actor=actor,
        subject=coupon.ref,
        account_id=redemption.account_id,
        data={"kind": coupon.kind, "value": coupon.value},
        now=now,
    )
