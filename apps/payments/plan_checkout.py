"""Buying a plan on Stripe's page: one visit an account, at its own price, with its trial and coupon."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.core.errors import Conflict, InvalidField
from apps.payments.calls.catalogue import find_promotion_code
from apps.payments.calls.sessions import expire_session, plan_session
from apps.payments.catalogue import ensure_price
from apps.payments.checkout import visit
from apps.payments.choices import UNFINISHED_CHECKOUTS, CheckoutKind
from apps.payments.connection import open_api
from apps.payments.customers import one_at_a_time
from apps.payments.discounts import mirror_coupon
from apps.payments.errors import PaymentRefused
from apps.payments.keeping import end_unpaid, keep_coupon, keep_trial
from apps.payments.models import Checkout
from apps.payments.results import Redirect
from apps.payments.stripe_api import StripeApi
from apps.payments.subscribed import find_open_subscription
from apps.plans.discounts import find_discount, is_coupon
from apps.plans.models import Coupon, Plan
from apps.plans.selectors import price_of


def start_plan_checkout(
    *,
    account: Account,
    plan: Plan,
    actor: Ref,
    token: str,
    success_url: str,
    cancel_url: str,
    now: datetime,
    promotion_code: str = "",
) -> Redirect:
    """A visit to Stripe that subscribes to `plan`. Two clicks, and two tabs, are one visit.

    `promotion_code` is a coupon of ours or a promotion code of Stripe's. Raises Conflict when the account
    has a plan that Stripe bills already (`change_plan` is for that), the plan is not for sale or its price
    for the account cannot be paid by card; InvalidField, CouponRefused, and what Stripe's calls raise.
    """
    api = open_api()
    if plan.archived_at is not None or not plan.is_public or plan.price_micro <= 0:
        raise Conflict(problem=f"The plan {plan.name} is not for sale.")
    code = promotion_code.strip()[:100]
    coupon = find_discount(code, plan=plan, now=now) if code and is_coupon(code) else None
    discount = {"coupon": mirror_coupon(api, coupon)} if coupon else _promotion(api, code)
    with one_at_a_time(account.pk):
        if find_open_subscription(account) is not None:
            raise Conflict(problem="This account pays for a plan already; change that one.")
        amount_micro = price_of(account=account, plan=plan, now=now)
        price = ensure_price(api, plan=plan, amount_micro=amount_micro, now=now)
        _settle_other_tabs(api, account=account, plan=plan, token=token, code=code, now=now)

        def what(api: StripeApi, checkout: Checkout) -> Mapping[str, Any]:
            if coupon is not None:
                _keep_coupon(checkout, coupon, actor=actor, now=now)
            return plan_session(
                price_id=price.price_id,
                key=checkout.key,
                trial_days=keep_trial(checkout, account=account, plan=plan, now=now),
                discount=discount,
                is_tax_on=api.config.is_tax_on,
            )

        draft = Checkout(account=account, token=token, kind=CheckoutKind.PLAN, plan=plan, created_at=now)
        return visit(api, draft, what, urls=(success_url, cancel_url), actor=actor, now=now)


def _promotion(api: StripeApi, code: str) -> dict[str, str]:
    if not code:
        return {}
    found = find_promotion_code(api, code)
    if found is None:
        raise InvalidField(field="promotion_code", problem="is unknown or has expired")
    return {"promotion_code": found}


def _keep_coupon(checkout: Checkout, coupon: Coupon, *, actor: Ref, now: datetime) -> None:
    """A coupon that is used up in this very moment ends the visit: nobody pays more than was said."""
    try:
        keep_coupon(checkout, coupon, actor=actor, now=now)
    except Conflict:
        end_unpaid(checkout, now=now)
        raise


def _settle_other_tabs(
    api: StripeApi, *, account: Account, plan: Plan, token: str, code: str, now: datetime
) -> None:
    """An unfinished visit for something else ends; one for the same is taken over under our token.

    A code makes it something else: the visit that is open may be at another price.
    """
    unfinished = Checkout.objects.filter(
        account=account, kind=CheckoutKind.PLAN, state__in=UNFINISHED_CHECKOUTS
    ).exclude(token=token)
    for other in unfinished:
        is_same = other.plan_id == plan.pk and not code and other.redemption_id is None
        if is_same and not Checkout.objects.filter(account=account, token=token).exists():
            Checkout.objects.filter(pk=other.pk).update(token=token)
            continue
        _expire(api, other, now=now)


def _expire(api: StripeApi, checkout: Checkout, *, now: datetime) -> None:
    """Raises Conflict for a visit that has just been paid."""
    if checkout.session_id:
        try:
            expire_session(api, checkout.session_id)
        except PaymentRefused as refusal:
            raise Conflict(
                problem="Another window has just bought a plan; wait a moment and reload this page."
            ) from refusal
    end_unpaid(checkout, now=now)
