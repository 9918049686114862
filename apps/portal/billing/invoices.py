"""Invoices by purchase order, to print and keep. Those by Stripe are Stripe's own files."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from apps.accounts.models import Membership
from apps.billing.invoices.models import Invoice
from apps.billing.invoices.pdf import render_pdf
from apps.portal.access import access_row, page


@require_safe
@page(permission="billing")
def invoice_pdf(request: HttpRequest, membership: Membership, number: str) -> HttpResponse:
    """One of the account's documents. Raises Http404 for others'."""
    issued = Invoice.objects.exclude(number=None)
    invoice = access_row(issued, request=request, account=membership.account, number=number)
    response = HttpResponse(render_pdf(invoice), content_type="application/pdf")
    response["Content-Disposition"] = f'inline; filename="{invoice.number}.pdf"'
    return response
