"""Invoices in the console: terms to change, documents to look at and to download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from apps.audit.admin_bases import ActsAdmin, ReadOnlyAdmin, actor_of
from apps.billing.invoices.models import Invoice, InvoiceLine, InvoiceSettings, InvoiceTerms
from apps.billing.invoices.pdf import render_pdf
from apps.billing.invoices.terms import save_settings, save_terms
from apps.billing.money import format_usd
from apps.core import clock

if TYPE_CHECKING:
    _LineInline = admin.TabularInline[InvoiceLine, Invoice]
else:
    # Django's class takes type parameters only while types are checked.
    _LineInline = admin.TabularInline


class InvoiceLineInline(_LineInline):
    model = InvoiceLine
    fields = ("position", "generation_kind", "model", "unit", "quantity", "unit_price_micro", "amount_micro")
    readonly_fields = fields
    can_delete = False
    extra = max_num = 0


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin[Invoice]):
    """Issued and settled by `manage.py invoices`; what was sent never changes."""

    list_display = ["__str__", "account", "kind", "state", "period_start", "total", "due_on", "pdf"]
    list_select_related = ["account"]
    list_filter = ["state", "kind", "account"]
    search_fields = ["number", "purchase_order"]
    ordering = ["-id"]
    inlines = [InvoiceLineInline]

    @admin.display(description="total")
    def total(self, row: Invoice) -> str:
        return format_usd(row.total_micro)

    @admin.display(description="PDF")
    def pdf(self, row: Invoice) -> str:
        return format_html('<a href="{}">PDF</a>', reverse("admin:billing_invoice_pdf", args=[row.pk]))

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.download)
        return [path("<int:pk>/pdf/", page, name="billing_invoice_pdf"), *super().get_urls()]

    def download(self, request: HttpRequest, pk: int) -> HttpResponse:
        invoice = Invoice.objects.select_related("corrects").filter(pk=pk).first()
        if invoice is None:
            raise Http404("no such invoice")
        name = f'attachment; filename="{invoice.number or "draft"}.pdf"'
        return HttpResponse(
            render_pdf(invoice), content_type="application/pdf", headers={"Content-Disposition": name}
        )


@admin.register(InvoiceSettings)
class InvoiceSettingsAdmin(ActsAdmin[InvoiceSettings]):
    fields = ["seller", "tax_id", "bank_details", "footer"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not InvoiceSettings.objects.exists()

    def save_model(self, request: HttpRequest, obj: InvoiceSettings, form: Any, change: bool) -> None:
        save_settings(obj, actor=actor_of(request), now=clock.now())


@admin.register(InvoiceTerms)
class InvoiceTermsAdmin(ActsAdmin[InvoiceTerms]):
    list_display = ["account", "purchase_order", "net_days", "tax_name", "tax_basis_points"]
    list_select_related = ["account"]

    def get_readonly_fields(self, request: HttpRequest, obj: InvoiceTerms | None = None) -> list[str]:
        return [] if obj is None else ["account"]

    def save_model(self, request: HttpRequest, obj: InvoiceTerms, form: Any, change: bool) -> None:
        save_terms(obj, actor=actor_of(request), now=clock.now())
