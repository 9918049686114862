"""From an invoice, and each of its lines, to the jobs it charges for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db.models import QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.models import Membership
from apps.billing.invoices.choices import DocumentKind, LineUnit
from apps.billing.invoices.models import Invoice, InvoiceLine
from apps.billing.invoices.selectors import traced_usage
from apps.billing.models import UsageEvent
from apps.payments.models import StripeInvoice
from apps.payments.tracing import card_usage
from apps.portal.access import MAX_ID, access_row, page, read_id
from apps.portal.paging import page_of
from apps.portal.playground.words import KINDS
from apps.portal.usage.exporting import Row, csv_of

COLUMNS: Final = ("job", "at", "model", "kind", "images", "pixels", "price_micro")
CHARGE, GIVE_BACK = 1, -1
KIND_LABELS: Final = {kind.value: label for kind, (label, _hint) in KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """An invoice, what of it is looked at, and the jobs behind that."""

    number: str
    total_micro: int
    """Of the whole document, with tax."""
    lines: list[InvoiceLine]
    """All of the document; Stripe's are not kept here."""
    line: InvoiceLine | None
    """The one that is looked at; None for the whole document."""
    usage: QuerySet[UsageEvent]
    sign: int

    @property
    def sum_micro(self) -> int:
        """Of the jobs: the amount of the line, or what the whole document charges for usage."""
        total: int | None = self.usage.aggregate(sum=Sum("price_micro"))["sum"]
        return self.sign * (total or 0)


@require_safe
@page(permission="billing")
def own_jobs(request: HttpRequest, membership: Membership, number: str) -> HttpResponse:
    """Of a document that we sent. Raises Http404 for others', and for a line it does not have."""
    issued = Invoice.objects.exclude(number=None)
    invoice = access_row(issued, request=request, account=membership.account, number=number)
    lines = list(invoice.lines.select_related("invoice"))
    line = _chosen(lines, request.GET.get("line", ""))
    traced = Traced(
        number=str(invoice),
        total_micro=invoice.total_micro,
        lines=lines,
        line=line,
        usage=traced_usage(lines if line is None else [line]),
        sign=GIVE_BACK if invoice.kind == DocumentKind.CREDIT_NOTE else CHARGE,
    )
    return _answer(request, traced)


def _chosen(lines: list[InvoiceLine], text: str) -> InvoiceLine | None:
    """The line that the address names by its position; None where it names none."""
    if not text:
        return None
    position = read_id(text)
    for line in lines:
        if line.position == position:
            return line
    raise Http404


@require_safe
@page(permission="billing")
def card_jobs(request: HttpRequest, membership: Membership, invoice_id: int) -> HttpResponse:
    """Of an invoice that Stripe sent. Raises Http404 for others'."""
    if invoice_id > MAX_ID:
        raise Http404
    rows = StripeInvoice.objects.all()
    invoice = access_row(rows, request=request, account=membership.account, pk=invoice_id)
    traced = Traced(
        number=str(invoice),
        total_micro=invoice.total_micro,
        lines=[],
        line=None,
        usage=card_usage(invoice),
        sign=CHARGE,
    )
    return _answer(request, traced)


def _answer(request: HttpRequest, traced: Traced) -> HttpResponse:
    if request.GET.get("format") == "csv":
        response = HttpResponse(csv_of(_rows(traced), COLUMNS), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="invoice-jobs.csv"'
        return response
    found = page_of(traced.usage, request)
    context = {
        "traced": traced,
        "page": found,
        "count": traced.usage.count(),
        "jobs": [
            {
                "event": event,
                "kind": KIND_LABELS.get(event.kind, event.kind),
                "amount_micro": traced.sign * event.price_micro,
            }
            for event in found.rows
        ],
        "fee": LineUnit.FEE,
    }
    return render(request, "portal/billing/traced.html", context)


def _rows(traced: Traced) -> list[Row]:
    """For a spreadsheet, oldest first; the last column adds up to what the page says."""
    return [
        {
            "job": event.job_id,
            "at": event.at.isoformat(),
            "model": event.checkpoint,
            "kind": event.kind,
            "images": event.images,
            "pixels": event.pixels,
            "price_micro": traced.sign * event.price_micro,
        }
        for event in traced.usage.order_by("pk").iterator()
    ]
