"""Reads of invoices."""

from __future__ import annotations

from django.db.models import QuerySet

from apps.accounts.models import Account
from apps.billing.invoices.models import Invoice, InvoicedUsage, InvoiceLine, InvoiceTerms
from apps.core.errors import NotFound


def list_invoices(account: Account) -> QuerySet[Invoice]:
    """What the account was sent, newest first: invoices and credit notes, drafts not among them."""
    return Invoice.objects.filter(account=account).exclude(number=None).order_by("-id")


def is_invoiced(account_id: int) -> bool:
    """Whether the account pays by invoices of ours, by bank transfer; one query."""
    return InvoiceTerms.objects.filter(account_id=account_id).exists()


def access_invoice(*, account: Account, number: str) -> Invoice:
    """One of the account's own documents. Raises NotFound, for somebody else's, too."""
    invoice = list_invoices(account).filter(number=number).first()
    if invoice is None:
        raise NotFound(what="Invoice", id=number)
    return invoice


def trace(line: InvoiceLine) -> list[int]:
    """The jobs that a line charges for (or, of a credit note, gives back), in the order they ended."""
    origin = line
    if line.invoice.corrects_id is not None:
        origin = InvoiceLine.objects.get(invoice_id=line.invoice.corrects_id, position=line.position)
    usage = InvoicedUsage.objects.filter(line=origin).order_by("event_id")
    return list(usage.values_list("event__job_id", flat=True))
