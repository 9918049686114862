"""What a refund means for a payment and for the ledger. All are parts but `put_back`; none asks Stripe."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import F

from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.billing.ledger.payments import receive_payment, refund_payment
from apps.billing.ledger.services import refund_top_up, top_up
from apps.billing.money import MICRO_PER_CENT
from apps.core.db import require_transaction
from apps.core.errors import Conflict
from apps.payments.choices import PaymentKind, SendState
from apps.payments.models import Payment, Refund


def is_first_payment(payment: Payment) -> bool:
    """Whether the account paid for no plan before, by this subscription or an earlier one, given back or not.

    A plan that could be taken back each time would cost nothing.
    """
    earlier = Payment.objects.filter(
        kind=PaymentKind.SUBSCRIPTION,
        account=payment.account_id,
        is_live=payment.is_live,
        paid_at__lt=payment.paid_at,
    )
    return payment.kind == PaymentKind.SUBSCRIPTION and not earlier.exists()


def is_last_payment(payment: Payment) -> bool:
    """Whether nothing was paid for the same subscription since then that is not given back."""
    later = Payment.objects.filter(
        kind=PaymentKind.SUBSCRIPTION,
        account=payment.account_id,
        subscription_id=payment.subscription_id,
        paid_at__gt=payment.paid_at,
        net_micro__gt=F("refunded_net_micro"),
    )
    return not later.exists()


def tax_share(payment: Payment, net_micro: int) -> int:
    """The tax that goes back with a part of a payment, in whole cents; the last part takes what is left."""
    if net_micro >= payment.refundable_micro:
        return payment.tax_micro - payment.refunded_tax_micro
    share = payment.tax_micro * net_micro // payment.net_micro
    return min(share - share % MICRO_PER_CENT, payment.tax_micro - payment.refunded_tax_micro)


def reserve(refund: Refund) -> None:
    """Part: never more than came, whoever else gives back of it now. Raises Conflict."""
    require_transaction()
    left = Payment.objects.filter(
        pk=refund.payment_id,
        net_micro__gte=F("refunded_net_micro") + refund.net_micro,
        tax_micro__gte=F("refunded_tax_micro") + refund.tax_micro,
    )
    taken = left.update(
        refunded_net_micro=F("refunded_net_micro") + refund.net_micro,
        refunded_tax_micro=F("refunded_tax_micro") + refund.tax_micro,
    )
    if taken != 1:
        raise Conflict(problem="Somebody else has just given this payment back; reload the page.")


def book(refund: Refund, *, key: str, memo: str, now: datetime) -> None:
    """Part: out of the wallet, or out of what was earned. Raises InsufficientFunds."""
    require_transaction()
    payment = refund.payment
    if payment.is_top_up:
        refund_top_up(
            account_id=payment.account_id, amount_micro=refund.net_micro, key=key, memo=memo, now=now
        )
        return
    refund_payment(
        account_id=payment.account_id,
        net_micro=refund.net_micro,
        tax_micro=refund.tax_micro,
        key=key,
        memo=memo,
        now=now,
    )


def put_back(refund: Refund, *, reason: str, now: datetime) -> None:
    """Act: Stripe did not give it back after all, so that our books do not either. Twice is once."""
    payment = refund.payment
    with transaction.atomic(durable=True):
        first = Refund.objects.filter(pk=refund.pk, reversed_at=None)
        if first.update(reversed_at=now, state=SendState.REFUSED, last_error=reason[:300]) != 1:
            return
        Payment.objects.filter(pk=payment.pk).update(
            refunded_net_micro=F("refunded_net_micro") - refund.net_micro,
            refunded_tax_micro=F("refunded_tax_micro") - refund.tax_micro,
        )
        _book_back(refund, now=now)
        audit.record(
            "payments.refund.failed",
            actor=SYSTEM,
            subject=payment.ref,
            account_id=payment.account_id,
            data={"reason": reason[:300]},
            now=now,
        )


def _book_back(refund: Refund, *, now: datetime) -> None:
    payment, key, memo = refund.payment, f"refund-failed:{refund.key}", "refund failed"
    to_wallet = refund.net_micro - refund.lost_micro if payment.is_top_up else 0
    earned = refund.net_micro - to_wallet
    if to_wallet:
        top_up(account_id=payment.account_id, amount_micro=to_wallet, key=key, memo=memo, now=now)
    if earned:
        receive_payment(
            account_id=payment.account_id,
            net_micro=earned,
            tax_micro=refund.tax_micro,
            key=f"{key}:lost" if payment.is_top_up else key,
            memo=memo,
            now=now,
        )
