"""What manual subscriptions cost, as rows for the next invoice. Parts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db.models import F

from apps.core.db import require_transaction
from apps.plans.choices import CouponKind
from apps.plans.errors import SubscriptionConflict
from apps.plans.models import Plan, PlanCharge, Redemption, Subscription
from apps.plans.proration import upgrade_charge


def charge_period(*, subscription: Subscription, now: datetime) -> int:
    """Charge the present period at the subscription's price, less a coupon; micro-USD.

    The same period again charges nothing further, and says what it was charged.
    """
    amount = subscription.price_micro
    if amount:
        amount = _less_coupon(subscription, amount)
    return _charge(
        subscription,
        key=f"period:{subscription.pk}:{subscription.period_start.isoformat()}",
        amount_micro=amount,
        memo=f"{subscription.plan.name}, one month",
        since=subscription.period_start,
        now=now,
    )


def charge_upgrade(*, subscription: Subscription, plan: Plan, price_micro: int, now: datetime) -> int:
    """Charge what is left of the difference to a dearer plan; micro-USD. Called before the row changes."""
    amount = upgrade_charge(
        old_micro=subscription.price_micro,
        new_micro=price_micro,
        start=subscription.period_start,
        end=subscription.period_end,
        now=now,
    )
    return _charge(
        subscription,
        key=f"upgrade:{subscription.pk}:{subscription.revision}",
        amount_micro=amount,
        memo=f"{plan.name} instead of {subscription.plan.name}, rest of the month",
        since=now,
        now=now,
    )


def _charge(
    subscription: Subscription, *, key: str, amount_micro: int, memo: str, since: datetime, now: datetime
) -> int:
    require_transaction()
    if amount_micro <= 0:
        return 0
    charge = PlanCharge(
        subscription=subscription,
        account_id=subscription.account_id,
        key=key,
        amount_micro=amount_micro,
        memo=memo,
        period_start=since,
        period_end=subscription.period_end,
        created_at=now,
    )
    PlanCharge.objects.bulk_create([charge], ignore_conflicts=True)
    return PlanCharge.objects.get(key=key).amount_micro


def due_charges(*, account_id: int, before: datetime) -> list[PlanCharge]:
    """What began before this moment and is on no invoice yet, the oldest first; those of months ago, too."""
    due = PlanCharge.objects.filter(account_id=account_id, invoiced_at=None, period_start__lt=before)
    return list(due.order_by("pk"))


def mark_invoiced(charge_ids: Collection[int], *, now: datetime) -> None:
    """They are on an invoice; a part. Raises SubscriptionConflict where another invoice was faster."""
    require_transaction()
    open_ones = PlanCharge.objects.filter(pk__in=charge_ids, invoiced_at=None)
    if open_ones.update(invoiced_at=now) != len(charge_ids):
        raise SubscriptionConflict(
            problem="A plan's fee is on another invoice already. Draft this one again."
        )


def release_charges(charge_ids: Collection[int]) -> None:
    """Their invoice was taken back: they wait for another one; a part."""
    require_transaction()
    PlanCharge.objects.filter(pk__in=charge_ids).update(invoiced_at=None)


def _less_coupon(subscription: Subscription, amount_micro: int) -> int:
    """The oldest coupon that still holds for this plan is used for one month."""
    uses = Redemption.objects.filter(account_id=subscription.account_id, months_left__gt=0)
    for use in uses.select_related("coupon").order_by("pk"):
        plans = set(use.coupon.plans.values_list("pk", flat=True))
        if plans and subscription.plan_id not in plans:
            continue
        taken = Redemption.objects.filter(pk=use.pk, months_left__gt=0)
        if taken.update(months_left=F("months_left") - 1):
            return discounted(amount_micro, kind=CouponKind(use.coupon.kind), value=use.coupon.value)
    return amount_micro


def discounted(amount_micro: int, *, kind: CouponKind, value: int) -> int:
    """What is left of a price, rounded down; never negative. Credit is no discount."""
    if kind is CouponKind.PERCENT:
        return amount_micro * (100 - value) // 100
    if kind is CouponKind.AMOUNT:
        return max(0, amount_micro - value)
    return amount_micro
