"""Coupons: made by operators, redeemed by accounts, once each and never more often than there are.

What a coupon of credit is worth goes to the ledger in the transaction of its redemption, by the function that
settings.COUPON_CREDIT names: the ledger is above plans.
"""

from __future__ import annotations

import re
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils.module_loading import import_string

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import JsonValue, Ref
from apps.core.errors import Conflict, InvalidField
from apps.plans.choices import CouponKind, SubscriptionSource, SubscriptionState
from apps.plans.coupon_models import CODE_PATTERN
from apps.plans.errors import CouponRefused
from apps.plans.models import Coupon, Redemption
from apps.plans.selectors import get_subscription


def save_coupon(*, coupon: Coupon, actor: Ref, now: datetime) -> None:
    """Insert a coupon, or replace what may change of one. What it is worth does not change once it was used.

    Raises InvalidField for a malformed code or value, Conflict for a known code and for such a change.
    """
    coupon.code = coupon.code.strip().upper()
    if coupon.pk is None:
        coupon.created_at = now
    _require_valid(coupon)
    name = "plans.coupon.created" if coupon.pk is None else "plans.coupon.changed"
    try:
        with transaction.atomic(durable=True):
            _require_worth_stays(coupon)
            if coupon.pk is None:
                coupon.save(force_insert=True)
            else:
                # Not its count: somebody may redeem it meanwhile.
                coupon.save(
                    update_fields=["kind", "value", "months", "max_redemptions", "starts_at", "ends_at"]
                )
            data: dict[str, JsonValue] = {
                "kind": coupon.kind,
                "value": coupon.value,
                "max_redemptions": coupon.max_redemptions,
            }
            audit.record(name, actor=actor, subject=coupon.ref, data=data, now=now)
    except IntegrityError:
        raise Conflict(
            problem=f"There is a coupon {coupon.code} already, or it was redeemed more often than that."
        ) from None


def _require_valid(coupon: Coupon) -> None:
    try:
        coupon.clean_fields()
        coupon.validate_constraints()
    except ValidationError as error:
        field, problems = next(iter(error.message_dict.items()))
        raise InvalidField(field=field, problem=f"is not usable: {problems[0]}") from None


def _require_worth_stays(coupon: Coupon) -> None:
    if coupon.pk is None:
        return
    before = Coupon.objects.select_for_update().get(pk=coupon.pk)
    worth = (before.kind, before.value, before.months)
    if before.redemptions and worth != (coupon.kind, coupon.value, coupon.months):
        raise Conflict(
            problem=f"{coupon.code} was redeemed already; what it is worth stays. Make another one."
        )


def find_coupon(code: str, *, now: datetime) -> Coupon:
    """The coupon that somebody typed, in any case, if it can be redeemed now. Raises CouponRefused."""
    typed = code.strip().upper()
    # The database refuses to look for some texts, such as those with NUL.
    coupon = Coupon.objects.filter(code=typed).first() if re.fullmatch(CODE_PATTERN, typed) else None
    if coupon is None or (coupon.starts_at is not None and now < coupon.starts_at):
        raise CouponRefused(problem="There is no such coupon.")
    if coupon.ends_at is not None and coupon.ends_at <= now:
        raise CouponRefused(problem=f"The coupon {coupon.code} has ended.")
    if coupon.max_redemptions is not None and coupon.redemptions >= coupon.max_redemptions:
        raise _used_up(coupon)
    return coupon


def redeem_coupon(*, account: Account, code: str, actor: Ref, now: datetime) -> Redemption:
    """Use a coupon: credit is granted at once, a discount holds for the next months that are charged.

    Raises CouponRefused, having changed nothing.
    """
    coupon = find_coupon(code, now=now)
    _require_effect(account, coupon)
    with transaction.atomic(durable=True):
        redemption = take_coupon(account=account, coupon=coupon, now=now)
        if coupon.kind == CouponKind.CREDIT:
            _grant(account, coupon, redemption, actor, now)
        audit.record(
            "plans.coupon.redeemed",
            actor=actor,
            subject=coupon.ref,
            account_id=account.pk,
            data={"kind": coupon.kind, "value": coupon.value},
            now=now,
        )
    return redemption


def _require_effect(account: Account, coupon: Coupon) -> None:
    """A discount is taken from the months that we charge; what Stripe bills is above plans."""
    if coupon.kind == CouponKind.CREDIT:
        return
    subscription = get_subscription(account)
    if (
        subscription is None
        or subscription.source != SubscriptionSource.MANUAL
        or subscription.state == SubscriptionState.TRIALING
    ):
        raise CouponRefused(
            problem=f"The coupon {coupon.code} is a discount on a plan that is paid by invoice, and this "
            "account has none. Who pays by card types it at checkout, as the promotion code."
        )


def take_coupon(*, account: Account, coupon: Coupon, now: datetime) -> Redemption:
    """Count one redemption; a part. Raises CouponRefused: then the caller's must be rolled back."""
    # The limit stands in the WHERE clause: of two who want the last one, the database lets one through.
    open_now = Q(ends_at=None) | Q(ends_at__gt=now)
    left = Q(max_redemptions=None) | Q(redemptions__lt=F("max_redemptions"))
    if Coupon.objects.filter(open_now, left, pk=coupon.pk).update(redemptions=F("redemptions") + 1) != 1:
        raise _used_up(coupon)
    is_discount = coupon.kind != CouponKind.CREDIT
    try:
        with transaction.atomic():
            return Redemption.objects.create(
                coupon=coupon, account=account, at=now, months_left=coupon.months if is_discount else 0
            )
    except IntegrityError:
        raise CouponRefused(problem=f"This account has used the coupon {coupon.code} already.") from None


def _used_up(coupon: Coupon) -> CouponRefused:
    return CouponRefused(problem=f"The coupon {coupon.code} is used up.")


def _grant(account: Account, coupon: Coupon, redemption: Redemption, actor: Ref, now: datetime) -> None:
    grant = import_string(settings.COUPON_CREDIT)
    grant(
        account_id=account.pk,
        amount_micro=coupon.value,
        expires_at=None,
        key=f"grant:coupon:{redemption.pk}",
        memo=f"coupon {coupon.code}",
        actor=actor,
        now=now,
    )
