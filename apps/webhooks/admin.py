"""Deliveries and troubled endpoints in the console."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.audit.admin_bases import ReadOnlyAdmin, actor_of
from apps.core import clock
from apps.core.errors import DomainError
from apps.webhooks.models import Delivery, Endpoint
from apps.webhooks.services import replay_delivery


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    list_display = [
        "event_id",
        "state",
        "event",
        "job_id",
        "account",
        "host",
        "attempts",
        "last",
        "created_at",
    ]
    list_select_related = ["account"]
    list_filter = ["state", "account"]
    search_fields = ["=event_id", "=job_id"]
    ordering = ["-id"]
    readonly_fields = ["message", "tries"]
    exclude = ["body", "claimed_by", "fence", "is_forced"]
    actions = ["replay"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Lists need no bodies."""
        return super().get_queryset(request).defer("body")

    @admin.display
    def host(self, delivery: Delivery) -> str:
        # Paths are often secrets of the customer's.
        return delivery.address.split("/")[2]

    @admin.display
    def last(self, delivery: Delivery) -> str:
        return delivery.last_error or (str(delivery.last_status) if delivery.last_status else "–")

    @admin.display
    def message(self, delivery: Delivery) -> SafeString:
        """What is sent, until it is deleted with the job's images."""
        if delivery.body is None:
            return format_html("–")
        return format_html("<pre style='white-space:pre-wrap'>{}</pre>", bytes(delivery.body).decode("ascii"))

    @admin.display
    def tries(self, delivery: Delivery) -> SafeString:
        """Each attempt: when, how long, what came back."""
        rows = (
            (f"{each.started_at:%Y-%m-%d %H:%M:%S}", each.duration_ms, each.error or each.status, each.answer)
            for each in delivery.tries.all()
        )
        cells = format_html_join("", "<tr><td>{}</td><td>{} ms</td><td>{}</td><td>{}</td></tr>", rows)
        return format_html("<table>{}</table>", cells) if cells else format_html("–")

    @admin.action(description="Send again", permissions=["view"])
    def replay(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        for delivery in deliveries:
            try:
                replay_delivery(delivery=delivery, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, str(refusal), messages.ERROR)
            else:
                self.message_user(request, f"{delivery} will be sent again.", messages.SUCCESS)


@admin.register(Endpoint)
class EndpointAdmin(ReadOnlyAdmin[Endpoint]):
    list_display = ["address", "account", "failures", "paused_until", "disabled_at", "last_error"]
    list_select_related = ["account"]
    list_filter = ["account"]
    ordering = ["-updated_at"]
