"""Giving money back to a customer who asks for it within 14 days.

The money is taken from the wallet first and Stripe is asked then: nobody spends what is on its way back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.money import MICRO_PER_CENT, format_usd
from apps.core.errors import InvalidField, NotFound
from apps.payments.connection import require_config
from apps.payments.errors import NotRefundable
from apps.payments.models import Payment, Refund
from apps.payments.refund_books import book, is_first_payment, is_last_payment, reserve, tax_share
from apps.payments.refund_sending import send_refund
from apps.payments.tokens import require_token
from apps.payments.top_up_switch import switch_off

NOT_RECENT: Final = "it is more than 14 days old; ask whoever runs this service."


def refund_payment_by_customer(
    *, account: Account, payment_id: int, amount_micro: int | None, actor: Ref, token: str, now: datetime
) -> Refund:
    """Give back a top-up, or the first payment for a plan, within 14 days. None is all that is left of it.

    The refund is on its way when this returns, or will be as soon as Stripe answers. A plan whose payment
    is given back ends at once. Twice with one token is once.

    Raises NotFound, NotRefundable, InvalidField, Conflict, and InsufficientFunds for what has been spent.
    """
    config = require_config()
    require_token(token)
    payment = Payment.objects.filter(account=account, pk=payment_id).first()
    if payment is None:
        raise NotFound(what="Payment", id=payment_id)
    if payment.is_live != config.is_live:
        raise NotRefundable(reason="it was made in another mode of Stripe.")
    known = Refund.objects.filter(payment=payment, token=token).first()
    if known is None:
        require_refundable(payment, now=now)
        amount = payment.refundable_micro if amount_micro is None else amount_micro
        known = _begin(payment, amount_micro=amount, token=token, actor=actor, now=now)
    send_refund(known, now=now)
    known.refresh_from_db()
    return known


def require_refundable(payment: Payment, *, now: datetime) -> None:
    """Raises NotRefundable unless its customer may take it back without asking anybody."""
    if payment.paid_at is None or payment.intent_id is None:
        raise NotRefundable(reason="it was not paid by card.")
    if not payment.is_top_up and not is_first_payment(payment):
        raise NotRefundable(reason="only the first payment for a plan can be taken back.")
    if not payment.is_top_up and not is_last_payment(payment):
        raise NotRefundable(reason="more was paid for the plan since; ask whoever runs this service.")
    if not payment.is_recent(now=now):
        raise NotRefundable(reason=NOT_RECENT)
    if payment.refundable_micro <= 0:
        raise NotRefundable(reason="it has been given back already.")


def _begin(payment: Payment, *, amount_micro: int, token: str, actor: Ref, now: datetime) -> Refund:
    """Reserve it of the payment, take it from the wallet, and write down that Stripe is to be asked."""
    if not 0 < amount_micro <= payment.refundable_micro or amount_micro % MICRO_PER_CENT:
        most = format_usd(payment.refundable_micro)
        raise InvalidField(field="amount", problem=f"must be above 0 and at most {most}, in whole cents")
    if not payment.is_top_up and amount_micro != payment.refundable_micro:
        raise InvalidField(field="amount", problem="must be all of a payment for a plan")
    refund = Refund(
        payment=payment,
        token=token,
        net_micro=amount_micro,
        tax_micro=tax_share(payment, amount_micro),
        due_at=now,
        created_at=now,
    )
    try:
        with transaction.atomic(durable=True):
            reserve(refund)
            refund.save(force_insert=True)
            book(refund, key=f"refund:{refund.key}", memo="refund", now=now)
            if payment.is_top_up:
                switch_off(account_id=payment.account_id, reason="a refund", now=now)
            audit.record(
                "payments.refund.asked",
                actor=actor,
                subject=payment.ref,
                account_id=payment.account_id,
                data={"net_micro": amount_micro, "tax_micro": refund.tax_micro},
                now=now,
            )
    except IntegrityError:
        return Refund.objects.get(payment=payment, token=token)
    return refund
