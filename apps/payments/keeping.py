"""What a visit to Stripe's checkout keeps while it is open: a trial, a coupon. Given back if nobody pays."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM, Ref
from apps.payments.choices import UNFINISHED_CHECKOUTS, CheckoutState
from apps.payments.models import Checkout
from apps.plans.choices import SubscriptionSource
from apps.plans.discounts import give_back_discount, take_discount
from apps.plans.models import Coupon, Plan, Subscription
from apps.plans.trial_holds import hold_trial, release_trial


def keep_trial(checkout: Checkout, *, account: Account, plan: Plan, now: datetime) -> int:
    """Days of the trial that the visit may begin; the same again. 0 after one, or any plan paid by card."""
    has_paid = Subscription.objects.filter(account=account, source=SubscriptionSource.STRIPE).exists()
    if not plan.trial_days or has_paid:
        return 0
    with transaction.atomic(durable=True):
        is_held = hold_trial(account=account, holder=str(checkout.key), now=now)
    return plan.trial_days if is_held else 0


def keep_coupon(checkout: Checkout, coupon: Coupon, *, actor: Ref, now: datetime) -> None:
    """The visit uses up one redemption; again, it changes nothing. Raises CouponRefused."""
    with transaction.atomic(durable=True):
        fresh = Checkout.objects.select_for_update(of=("self",)).get(pk=checkout.pk)
        if fresh.redemption_id is not None:
            return
        fresh.redemption = take_discount(account=fresh.account, coupon=coupon, actor=actor, now=now)
        fresh.save(update_fields=["redemption"])


def end_unpaid(checkout: Checkout, *, now: datetime) -> None:
    """The visit is over and nobody has paid. Twice is once; joins the caller's transaction, or opens one."""
    with transaction.atomic():
        unfinished = Checkout.objects.filter(pk=checkout.pk, state__in=UNFINISHED_CHECKOUTS)
        if unfinished.update(state=CheckoutState.EXPIRED, ended_at=now) != 1:
            return
        release_trial(holder=str(checkout.key))
        fresh = Checkout.objects.select_related("redemption__coupon").get(pk=checkout.pk)
        if fresh.redemption is not None:
            give_back_discount(fresh.redemption, actor=SYSTEM, now=now)
