"""Stripe's invoices: mirrored for the portal, booked when they are due and when they are paid.

Call within `one_at_a_time` of the account.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.billing.ledger.models import LedgerEntry
from apps.billing.ledger.payments import bill_receivable, pay_receivable, receive_payment, unbill_receivable
from apps.payments.calls.catalogue import METERED_UNIT_MICRO
from apps.payments.calls.money import find_invoice
from apps.payments.calls.sessions import PURPOSE
from apps.payments.choices import PaymentKind, SendState
from apps.payments.models import Payment, StripeCustomer, StripeInvoice
from apps.payments.pay_as_you_go import PAYG_PURPOSE
from apps.payments.seen_invoices import InvoiceSeen
from apps.payments.stripe_api import StripeApi

DUE = frozenset({"open", "paid", "uncollectible"})


def sync_invoice(
    api: StripeApi, *, row: StripeCustomer, invoice_id: str, now: datetime
) -> InvoiceSeen | None:
    """The invoice as it is now, mirrored and booked; None for a draft that is no more."""
    seen = find_invoice(api, invoice_id)
    if seen is None:
        return None
    with transaction.atomic(durable=True):
        _mirror(seen, row)
        if seen.subscription_metadata.get(PURPOSE) == PAYG_PURPOSE:
            _book_usage(seen, row, now=now)
        else:
            _book_plan(seen, row, now=now)
    return seen


def _mirror(seen: InvoiceSeen, row: StripeCustomer) -> None:
    StripeInvoice.objects.update_or_create(
        invoice_id=seen.id,
        defaults={
            "account_id": row.account_id,
            "is_live": row.is_live,
            "number": seen.number,
            "status": seen.status,
            "subscription_id": seen.subscription_id,
            "total_micro": seen.total_micro,
            "tax_micro": seen.tax_micro,
            "paid_micro": seen.paid_micro,
            "hosted_url": seen.hosted_url,
            "pdf_url": seen.pdf_url,
            "period_start": seen.period_start,
            "period_end": seen.period_end,
            "issued_at": seen.created,
        },
    )


def _book_plan(seen: InvoiceSeen, row: StripeCustomer, *, now: datetime) -> None:
    """What was paid for a plan: revenue, and tax that is not ours. Nothing for an invoice of 0."""
    if seen.status != "paid" or seen.paid_micro <= 0:
        return
    payment, is_new = _note_payment(seen, row, kind=PaymentKind.SUBSCRIPTION, now=now)
    if is_new and payment.net_micro:
        receive_payment(
            account_id=row.account_id,
            net_micro=payment.net_micro,
            tax_micro=payment.tax_micro,
            key=f"payment:{seen.id}",
            memo=f"invoice {seen.number}",
            now=now,
        )


def _note_payment(
    seen: InvoiceSeen, row: StripeCustomer, *, kind: PaymentKind, now: datetime
) -> tuple[Payment, bool]:
    """Part: the row of what was paid, which refunds and disputes are about; whether it is new."""
    tax_micro = min(seen.tax_micro, seen.paid_micro)
    return Payment.objects.get_or_create(
        invoice_id=seen.id,
        defaults={
            "account_id": row.account_id,
            "is_live": row.is_live,
            "kind": kind,
            "state": SendState.SENT,
            "intent_id": seen.intent_id or None,
            "subscription_id": seen.subscription_id,
            "net_micro": seen.paid_micro - tax_micro,
            "tax_micro": tax_micro,
            "due_at": now,
            "created_at": seen.created,
            "paid_at": seen.paid_at or seen.created,
        },
    )


def _book_usage(seen: InvoiceSeen, row: StripeCustomer, *, now: datetime) -> None:
    """Metered usage on an invoice: owed when it is due, settled when it is paid, unbilled when it is void.

    The meter counts micro-USD; what an invoice asks for is whole cents, and the difference is rounding.
    """
    usage_micro = sum(line.quantity for line in seen.lines) * METERED_UNIT_MICRO
    if usage_micro <= 0:
        return
    owed = {
        "account_id": row.account_id,
        "amount_micro": usage_micro,
        "tax_micro": seen.tax_micro,
        "rounding_micro": sum(line.amount_micro for line in seen.lines) - usage_micro,
    }
    bill_key, memo = f"bill:{seen.id}", f"invoice {seen.number}"
    if seen.status in DUE:
        bill_receivable(**owed, key=bill_key, memo=memo, now=now)
    if seen.status == "paid" and seen.paid_micro > 0:
        _note_payment(seen, row, kind=PaymentKind.USAGE, now=now)
        pay_receivable(
            account_id=row.account_id,
            amount_micro=seen.paid_micro,
            key=f"paid:{seen.id}",
            memo=memo,
            now=now,
        )
    if seen.status == "void" and LedgerEntry.objects.filter(key=bill_key).exists():
        unbill_receivable(**owed, key=f"void:{seen.id}", memo=f"{memo} was voided", now=now)
