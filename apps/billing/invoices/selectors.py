"""Reads of invoices."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet, Subquery

from apps.accounts.models import Account
from apps.billing.invoices.models import Invoice, InvoicedUsage, InvoiceLine, InvoiceTerms
from apps.billing.models import UsageEvent
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


def traced_usage(lines: Sequence[InvoiceLine]) -> QuerySet[UsageEvent]:
    """What lines of one document charge for (or, of a credit note, give back); nothing for fees of plans."""
    if not lines:
        return UsageEvent.objects.none()
    document = lines[0].invoice
    usage = InvoicedUsage.objects.filter(
        line__invoice_id=document.corrects_id or document.pk,
        line__position__in=[row.position for row in lines],
    )
    return UsageEvent.objects.filter(
        account_id=document.account_id, pk__in=Subquery(usage.values("event_id"))
    )


def trace(line: InvoiceLine) -> list[int]:
    """The jobs of that, in the order they ended."""
    return list(traced_usage([line]).order_by("pk").values_list("job_id", flat=True))
