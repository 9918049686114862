"""Payments in the console: the connection to Stripe with its test button, messages, money and reports."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from apps.audit.admin_bases import ActsAdmin, ReadOnlyAdmin, actor_of
from apps.billing.money import format_usd
from apps.core import clock
from apps.core.errors import DomainError
from apps.payments.connection import save_settings, try_connection
from apps.payments.inbox import handle_again
from apps.payments.models import (
    THE_ROW,
    AutoTopUp,
    Checkout,
    Dispute,
    MeterBatch,
    Payment,
    ReconcileReport,
    Refund,
    StripeCustomer,
    StripeEvent,
    StripeInvoice,
    StripePrice,
    StripeSettings,
)
from apps.payments.modes import describe_other_mode

CHANGE = "admin:payments_stripesettings_change"
BODY_CHARS = 20_000


class StripeSettingsForm(forms.ModelForm):  # type: ignore[type-arg]  # takes no parameter at run time
    """Secrets go in and never come out again."""

    secret_key = forms.CharField(
        required=False,
        strip=True,
        widget=forms.PasswordInput,
        help_text="sk_live_... or sk_test_...; empty keeps the present one.",
    )
    webhook_secret = forms.CharField(
        required=False,
        strip=True,
        widget=forms.PasswordInput,
        help_text="whsec_... of the endpoint /payments/stripe/webhook; empty keeps the present one.",
    )
    forget_secrets = forms.BooleanField(
        required=False, help_text="Removes both; payments stop, everything else goes on."
    )

    class Meta:
        model = StripeSettings
        fields = ("publishable_key", "api_base", "is_tax_on")


@admin.register(StripeSettings)
class StripeSettingsAdmin(ActsAdmin[StripeSettings]):
    form = StripeSettingsForm
    fields = [
        "secret_key",
        "webhook_secret",
        "forget_secrets",
        "publishable_key",
        "api_base",
        "is_tax_on",
        "has_secret_key",
        "has_webhook_secret",
        "is_live",
        "before_another_mode",
        "tested_at",
        "test_result",
    ]
    readonly_fields = [
        "has_secret_key",
        "has_webhook_secret",
        "is_live",
        "before_another_mode",
        "tested_at",
        "test_result",
    ]
    change_form_template = "console/stripe_settings.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not StripeSettings.objects.exists()

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.test_view))
        return [path("test", view, name="payments_stripesettings_test"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """There is one row at most: no list of it (Any: Django's own type)."""
        if StripeSettings.objects.exists():
            return HttpResponseRedirect(reverse(CHANGE, args=[THE_ROW]))
        return HttpResponseRedirect(reverse("admin:payments_stripesettings_add"))

    def test_view(self, request: HttpRequest) -> HttpResponse:
        """The test button."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        report = try_connection(actor=actor_of(request), now=clock.now())
        self.message_user(request, report, messages.INFO)
        return HttpResponseRedirect(reverse("admin:payments_stripesettings_changelist"))

    def save_model(self, request: HttpRequest, obj: StripeSettings, form: Any, change: bool) -> None:
        asked = form.cleaned_data
        is_forgotten = asked["forget_secrets"]
        saved = save_settings(
            secret_key="" if is_forgotten else asked["secret_key"] or None,
            webhook_secret="" if is_forgotten else asked["webhook_secret"] or None,
            publishable_key=asked["publishable_key"],
            api_base=asked["api_base"],
            is_tax_on=asked["is_tax_on"],
            actor=actor_of(request),
            now=clock.now(),
        )
        obj.pk = saved.pk

    @admin.display(description="Test and live mode")
    def before_another_mode(self, row: StripeSettings) -> str:
        """What stands in the way of the present key, or else of a key of the other mode."""
        present = describe_other_mode(is_live=row.is_live)
        return present or describe_other_mode(is_live=not row.is_live) or "No customers in either mode yet."

    @admin.display(boolean=True)
    def has_secret_key(self, row: StripeSettings) -> bool:
        return bool(row.secret_key_sealed)

    @admin.display(boolean=True)
    def has_webhook_secret(self, row: StripeSettings) -> bool:
        return bool(row.webhook_secret_sealed)


@admin.register(StripeEvent)
class StripeEventAdmin(ReadOnlyAdmin[StripeEvent]):
    list_display = ["received_at", "state", "type", "object_id", "attempts", "note", "event_id"]
    list_filter = ["state", "type"]
    search_fields = ["=event_id", "=object_id"]
    ordering = ["-id"]
    readonly_fields = ["message"]
    exclude = ["body", "signature"]
    actions = ["again"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[StripeEvent]:
        """Lists need no bodies."""
        return super().get_queryset(request).defer("body")

    @admin.display
    def message(self, event: StripeEvent) -> SafeString:
        """As it came."""
        text = bytes(event.body)[:BODY_CHARS].decode("utf-8", errors="replace")
        return format_html("<pre>{}</pre>", text)

    @admin.action(description="Handle again", permissions=["view"])
    def again(self, request: HttpRequest, events: QuerySet[StripeEvent]) -> None:
        """Whatever became of them: handlers fetch what is true now."""
        for event in events:
            try:
                has_worked = handle_again(event=event, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, f"{event}: {refusal}", messages.ERROR)
                continue
            words, level = ("handled", messages.SUCCESS) if has_worked else ("failed", messages.ERROR)
            self.message_user(request, f"{event}: {words}", level)


@admin.register(ReconcileReport)
class ReconcileReportAdmin(ReadOnlyAdmin[ReconcileReport]):
    list_display = ["day", "made_at", "difference"]
    ordering = ["-made_at"]
    fields = ["day", "made_at", "difference", "table"]
    readonly_fields = ["difference", "table"]

    @admin.display
    def difference(self, report: ReconcileReport) -> str:
        return format_usd(report.difference_micro)

    @admin.display
    def table(self, report: ReconcileReport) -> SafeString:
        """Each kind of money, with the cases that differ."""
        rows = (
            (
                line["name"],
                format_usd(line["ours_micro"]),
                format_usd(line["stripes_micro"]),
                format_usd(line["difference_micro"]),
                "; ".join(line["cases"]),
            )
            for line in report.lines
        )
        cells = format_html_join("", "<tr>" + "<td>{}</td>" * 5 + "</tr>", rows)
        head = "<th>Money</th><th>Here</th><th>At Stripe</th><th>Differs</th><th>Cases</th>"
        return format_html("<table><tr>{}</tr>{}</table>", SafeString(head), cells)


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin[Payment]):
    list_display = ["created_at", "account", "kind", "net", "tax_micro", "refunded_net_micro", "paid_at"]
    list_select_related = ["account"]
    list_filter = ["kind", "state"]
    search_fields = ["=intent_id", "=invoice_id"]
    ordering = ["-id"]

    @admin.display
    def net(self, payment: Payment) -> str:
        return format_usd(payment.net_micro)


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin[Refund]):
    list_display = ["created_at", "payment", "net_micro", "state", "is_ours", "refund_id", "last_error"]
    list_select_related = ["payment"]
    list_filter = ["state", "is_ours"]
    ordering = ["-id"]


@admin.register(MeterBatch)
class MeterBatchAdmin(ReadOnlyAdmin[MeterBatch]):
    list_display = ["minute", "account", "value_micro", "state", "attempts", "last_error"]
    list_select_related = ["account"]
    list_filter = ["state"]
    ordering = ["-id"]


@admin.register(StripeInvoice, StripeCustomer, StripePrice, Checkout, Dispute, AutoTopUp)
class MirrorAdmin(ReadOnlyAdmin[Any]):
    """Rows that need nothing but to be looked at (Any: of each kind)."""

    ordering = ["-id"]
