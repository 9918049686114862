"""Drafting, issuing, settling and taking back invoices. Acts, each one transaction, each in the audit log.

Acts on one account take its ledger's lock first, then the invoice's row, then the number.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Sum

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.audit.services import record
from apps.billing.invoices.choices import DocumentKind, InvoiceState, LineUnit
from apps.billing.invoices.drafting import (
    find_due_fees,
    find_due_lines,
    release_lines,
    totals_of,
    write_lines,
)
from apps.billing.invoices.errors import (
    InvoiceDoesNotAddUp,
    InvoiceStateConflict,
    InvoiceTermsMissing,
    NothingToInvoice,
)
from apps.billing.invoices.models import (
    Invoice,
    InvoicedCharge,
    InvoicedUsage,
    InvoiceLine,
    InvoiceSettings,
    InvoiceTerms,
)
from apps.billing.invoices.numbers import take_number
from apps.billing.invoices.overdue import follow_invoices
from apps.billing.ledger.payments import bill_receivable, pay_receivable, unbill_receivable
from apps.billing.ledger.posting import lock_account
from apps.core.clock import day_end


def draft_invoice(*, account: Account, start: date, end: date, actor: Ref, now: datetime) -> Invoice:
    """Put usage on account until the day `end`, and fees of plans, on a draft: no other has them from now on.

    Raises InvoiceTermsMissing, NothingToInvoice.
    """
    settings, terms = _settings_and_terms(account)
    with transaction.atomic(durable=True):
        lock_account(account.pk)
        due = find_due_fees(account_id=account.pk, before=day_end(end, zone=account.time_zone))
        due += find_due_lines(account_id=account.pk, until=end)
        totals = totals_of(sum(line.amount_micro for line in due), tax_basis_points=terms.tax_basis_points)
        if totals.total_micro == 0:
            raise NothingToInvoice(account=account.slug, until=end.isoformat())
        invoice = Invoice.objects.create(
            account=account,
            period_start=start,
            period_end=end,
            seller=settings.seller,
            seller_tax_id=settings.tax_id,
            bank_details=settings.bank_details,
            footer=settings.footer,
            buyer=terms.buyer,
            buyer_tax_id=terms.buyer_tax_id,
            purchase_order=terms.purchase_order,
            net_days=terms.net_days,
            tax_name=terms.tax_name,
            tax_basis_points=terms.tax_basis_points,
            created_at=now,
            **asdict(totals),
        )
        write_lines(invoice, due, now=now)
        _record("billing.invoice.drafted", invoice, actor, now)
    return invoice


def issue_invoice(*, invoice_id: int, actor: Ref, now: datetime) -> Invoice:
    """Give a draft its number and date, and book what it asks for. Raises InvoiceStateConflict."""
    with transaction.atomic(durable=True):
        invoice = _lock(invoice_id, InvoiceState.DRAFT, "only a draft can be issued")
        _require_exact(invoice)
        fees_micro = _fees(invoice)
        bill_receivable(
            account_id=invoice.account_id,
            amount_micro=invoice.net_micro - fees_micro,
            fees_micro=fees_micro,
            tax_micro=invoice.tax_micro,
            rounding_micro=invoice.rounding_micro,
            key=f"invoice:{invoice.pk}",
            now=now,
        )
        _number(invoice, now)
        _record("billing.invoice.issued", invoice, actor, now)
    return invoice


def mark_paid(*, invoice_id: int, reference: str, actor: Ref, now: datetime) -> Invoice:
    """The bank transfer for an issued invoice has come: a plan that was past due for it goes on.

    Raises InvoiceStateConflict.
    """
    with transaction.atomic(durable=True):
        invoice = _lock(invoice_id, InvoiceState.ISSUED, "only an issued invoice can be paid")
        if invoice.kind == DocumentKind.CREDIT_NOTE:
            raise InvoiceStateConflict(number=str(invoice), state="a credit note", advice="it is not paid")
        pay_receivable(
            account_id=invoice.account_id,
            amount_micro=invoice.total_micro,
            key=f"invoice-paid:{invoice.pk}",
            memo=f"{invoice} {reference}",
            now=now,
        )
        invoice.state, invoice.paid_at, invoice.payment_reference = InvoiceState.PAID, now, reference
        invoice.save(update_fields=["state", "paid_at", "payment_reference"])
        _record("billing.invoice.paid", invoice, actor, now)
    follow_invoices(account_id=invoice.account_id, actor=actor, now=now)
    return invoice


def void_invoice(*, invoice_id: int, actor: Ref, now: datetime) -> Invoice | None:
    """Take an unpaid invoice back; its usage waits for another one. Of an issued one: its credit note.

    Raises InvoiceStateConflict.
    """
    with transaction.atomic(durable=True):
        invoice = _lock(invoice_id, None, "")
        note = None
        if invoice.kind == DocumentKind.CREDIT_NOTE or invoice.state in {
            InvoiceState.PAID,
            InvoiceState.VOID,
        }:
            raise InvoiceStateConflict(
                number=str(invoice),
                state=invoice.state,
                advice="only a draft or unpaid invoice can be taken back",
            )
        release_lines(invoice)
        if invoice.state == InvoiceState.ISSUED:
            note = _credit(invoice, now)
            _record("billing.invoice.credited", note, actor, now)
        invoice.state, invoice.voided_at = InvoiceState.VOID, now
        invoice.save(update_fields=["state", "voided_at"])
        _record("billing.invoice.voided", invoice, actor, now)
    follow_invoices(account_id=invoice.account_id, actor=actor, now=now)
    return note


def _settings_and_terms(account: Account) -> tuple[InvoiceSettings, InvoiceTerms]:
    settings = InvoiceSettings.objects.first()
    if settings is None:
        raise InvoiceTermsMissing(what="Say who sends invoices (invoice settings)")
    terms = InvoiceTerms.objects.filter(account=account).first()
    if terms is None:
        raise InvoiceTermsMissing(what=f"Say how the account {account.slug} is invoiced (invoice terms)")
    return settings, terms


def _lock(invoice_id: int, state: InvoiceState | None, advice: str) -> Invoice:
    lock_account(Invoice.objects.values_list("account_id", flat=True).get(pk=invoice_id))
    invoice = Invoice.objects.select_for_update(no_key=True).get(pk=invoice_id)
    if state is not None and invoice.state != state:
        raise InvoiceStateConflict(number=str(invoice), state=invoice.state, advice=advice)
    return invoice


def _require_exact(invoice: Invoice) -> None:
    """The lines are the sum of the events and fees behind them, to the micro-dollar, or nothing is sent."""
    usage = InvoicedUsage.objects.filter(line__invoice=invoice, is_void=False)
    of_events = usage.aggregate(micro=Sum("event__price_micro"))["micro"] or 0
    of_lines = invoice.lines.aggregate(micro=Sum("amount_micro"))["micro"] or 0
    fees = InvoicedCharge.objects.filter(line__invoice=invoice, is_void=False)
    of_charges = fees.aggregate(micro=Sum("charge__amount_micro"))["micro"] or 0
    if not of_events + of_charges == of_lines == invoice.net_micro:
        raise InvoiceDoesNotAddUp(
            f"{invoice} asks for {invoice.net_micro}, its lines for {of_lines}, "
            f"their usage for {of_events} and their fees for {of_charges}"
        )


def _fees(invoice: Invoice) -> int:
    """What it asks for plans. They are earned when it is issued; usage was when it was delivered."""
    fees = invoice.lines.filter(unit=LineUnit.FEE)
    return fees.aggregate(micro=Sum("amount_micro"))["micro"] or 0


def _number(invoice: Invoice, now: datetime) -> None:
    invoice.state, invoice.issued_at = InvoiceState.ISSUED, now
    invoice.due_on = now.date() + timedelta(days=invoice.net_days)
    invoice.number = take_number(DocumentKind(invoice.kind), now=now)
    invoice.save(update_fields=["state", "issued_at", "due_on", "number"])


def _credit(invoice: Invoice, now: datetime) -> Invoice:
    """The credit note: the same document with every amount negative."""
    fees_micro = _fees(invoice)
    unbill_receivable(
        account_id=invoice.account_id,
        amount_micro=invoice.net_micro - fees_micro,
        fees_micro=fees_micro,
        tax_micro=invoice.tax_micro,
        rounding_micro=invoice.rounding_micro,
        key=f"invoice-void:{invoice.pk}",
        now=now,
    )
    note = Invoice.objects.get(pk=invoice.pk)
    note.pk, note.kind, note.corrects = None, DocumentKind.CREDIT_NOTE, invoice
    note.state, note.number, note.issued_at, note.due_on = InvoiceState.DRAFT, None, None, None
    note.net_micro, note.tax_micro = -invoice.net_micro, -invoice.tax_micro
    note.rounding_micro, note.net_days, note.created_at = -invoice.rounding_micro, 0, now
    note.save(force_insert=True)
    lines = list(invoice.lines.all())
    for line in lines:
        line.pk, line.invoice = None, note
        line.quantity, line.amount_micro = -line.quantity, -line.amount_micro
    InvoiceLine.objects.bulk_create(lines)
    _number(note, now)
    return note


def _record(name: str, invoice: Invoice, actor: Ref, now: datetime) -> None:
    record(
        name,
        actor=actor,
        subject=invoice.ref,
        account_id=invoice.account_id,
        data={"total_micro": invoice.total_micro},
        now=now,
    )
