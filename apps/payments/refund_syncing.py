"""Refunds that Stripe tells of. What was done there has happened, and is booked as it is.

All money of the customer is written down first: what a wallet can give must not depend on the order of
messages. Call within `one_at_a_time` of the account.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.billing.ledger.errors import InsufficientFunds
from apps.billing.ledger.payments import refund_payment
from apps.billing.ledger.selectors import balances
from apps.billing.ledger.services import refund_top_up
from apps.core.db import require_transaction
from apps.payments.calls.money import find_invoice_of_intent, list_intents, list_refunds
from apps.payments.calls.sessions import PURPOSE, own_key
from apps.payments.choices import SendState
from apps.payments.invoicing import sync_invoice
from apps.payments.models import Payment, Refund, StripeCustomer
from apps.payments.refund_books import put_back, reserve, tax_share
from apps.payments.refund_sending import FAILED, take_answer
from apps.payments.seen import RefundSeen
from apps.payments.stripe_api import StripeApi
from apps.payments.syncing import TOP_UP_PURPOSES, write_top_up
from apps.payments.top_up_switch import switch_off


def sync_refunds(api: StripeApi, *, row: StripeCustomer, intent_id: str, now: datetime) -> None:
    """Every refund of one payment."""
    payment = find_payment(api, row=row, intent_id=intent_id, now=now)
    if payment is None:
        return
    for seen in sorted(list_refunds(api, intent_id), key=lambda each: (each.created, each.id)):
        ours = Refund.objects.filter(payment=payment, key=own_key(seen.metadata)).first()
        if ours is not None:
            take_answer(api, ours, seen, now=now)
        else:
            _write_foreign(payment, seen, now=now)


def find_payment(api: StripeApi, *, row: StripeCustomer, intent_id: str, now: datetime) -> Payment | None:
    """The payment's row, after all that this customer has paid is written down; None for none of ours."""
    for seen in sorted(list_intents(api, row.customer_id or ""), key=lambda each: (each.created, each.id)):
        if seen.metadata.get(PURPOSE) in TOP_UP_PURPOSES:
            write_top_up(seen, row=row, now=now)
    payment = Payment.objects.filter(intent_id=intent_id, account=row.account).first()
    if payment is not None:
        return payment
    invoice_id = find_invoice_of_intent(api, intent_id)
    if invoice_id:
        sync_invoice(api, row=row, invoice_id=invoice_id, now=now)
    return Payment.objects.filter(intent_id=intent_id, account=row.account).first()


def _write_foreign(payment: Payment, seen: RefundSeen, *, now: datetime) -> None:
    """A refund that somebody made at Stripe."""
    refund = Refund.objects.filter(refund_id=seen.id).first()
    if refund is None and seen.status not in FAILED:
        refund = _book_foreign(payment, seen, now=now)
    if refund is not None and seen.status in FAILED:
        put_back(refund, reason=f"Stripe says the refund {seen.status}.", now=now)


def _book_foreign(payment: Payment, seen: RefundSeen, *, now: datetime) -> Refund:
    gross_micro = payment.net_micro + payment.tax_micro
    net_micro = min(seen.amount_micro * payment.net_micro // gross_micro, seen.amount_micro)
    with transaction.atomic(durable=True):
        fresh = Payment.objects.select_for_update().get(pk=payment.pk)
        # Stripe refunds whole cents of the gross amount: the tax takes its share, the rest is net.
        tax_micro = min(tax_share(fresh, net_micro), seen.amount_micro)
        refund = Refund(
            payment=fresh,
            refund_id=seen.id,
            is_ours=False,
            state=SendState.SENT,
            net_micro=seen.amount_micro - tax_micro,
            tax_micro=tax_micro,
            due_at=now,
            sent_at=seen.created,
            created_at=seen.created,
        )
        reserve(refund)
        refund.save(force_insert=True)
        _book_what_happened(refund, now=now)
        if fresh.is_top_up:
            switch_off(account_id=fresh.account_id, reason="a refund", now=now)
        audit.record(
            "payments.refund.heard_of",
            actor=SYSTEM,
            subject=fresh.ref,
            account_id=fresh.account_id,
            data={"refund": seen.id, "amount_micro": seen.amount_micro},
            now=now,
        )
    return refund


def _book_what_happened(refund: Refund, *, now: datetime) -> None:
    """Part: out of the wallet as far as it goes; what has been spent already is our loss."""
    require_transaction()
    payment, key, memo = refund.payment, f"refund:{refund.refund_id}", "refund made at Stripe"
    lost = refund.net_micro
    if payment.is_top_up:
        from_wallet = min(refund.net_micro, balances(payment.account, now).wallet_micro)
        try:
            with transaction.atomic():
                if from_wallet:
                    refund_top_up(
                        account_id=payment.account_id, amount_micro=from_wallet, key=key, memo=memo, now=now
                    )
                    lost -= from_wallet
        except InsufficientFunds:
            # Spent at this very moment: all of it is our loss then.
            lost = refund.net_micro
    if lost:
        Refund.objects.filter(pk=refund.pk).update(lost_micro=lost)
        refund_payment(
            account_id=payment.account_id,
            net_micro=lost,
            tax_micro=refund.tax_micro,
            key=f"{key}:lost" if payment.is_top_up else key,
            memo=memo,
            now=now,
        )
