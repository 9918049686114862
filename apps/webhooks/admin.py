"""Deliveries and troubled endpoints in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.accounts.models import Account
from apps.audit.admin_bases import ReadOnlyAdmin, actor_of
from apps.core import clock
from apps.core.errors import DomainError
from apps.webhooks.models import Delivery, Endpoint
from apps.webhooks.services import replay_delivery, send_test


def host_of(address: str) -> str:
    """Paths are often secrets of the customer's."""
    return address.split("/")[2]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    # In the order of what an operator looks for: wide tables lose their last columns on a narrow screen.
    list_display = [
        "created_at",
        "state",
        "account",
        "host",
        "last",
        "attempts",
        "event",
        "job_id",
        "event_id",
    ]
    list_select_related = ["account"]
    list_filter = ["state", "account"]
    search_fields = ["=event_id", "=job_id"]
    ordering = ["-id"]
    readonly_fields = ["message", "tries"]
    exclude = ["body", "claimed_by", "fence", "is_forced"]
    actions = ["replay", "test"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Lists need no bodies."""
        return super().get_queryset(request).defer("body")

    @admin.display
    def host(self, delivery: Delivery) -> str:
        return host_of(delivery.address)

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
                self.message_user(request, f"Delivery {delivery} will be sent again.", messages.SUCCESS)

    @admin.action(description="Send a test message to the same address", permissions=["view"])
    def test(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        for account, url in {(each.account, each.url): None for each in deliveries}:
            _send_test(self, request, account, url)


def _send_test(page: ReadOnlyAdmin[Any], request: HttpRequest, account: Account, url: str) -> None:
    """Queue one, and say what it is called; a refusal of the address is shown."""
    try:
        delivery = send_test(account=account, url=url, actor=actor_of(request), now=clock.now())
    except DomainError as refusal:
        page.message_user(request, str(refusal), messages.ERROR)
    else:
        page.message_user(
            request,
            f"The test {delivery} is on its way to {host_of(delivery.address)}; its page shows the answer.",
            messages.SUCCESS,
        )


@admin.register(Endpoint)
class EndpointAdmin(ReadOnlyAdmin[Endpoint]):
    list_display = ["address", "account", "failures", "paused_until", "disabled_at", "last_error"]
    list_select_related = ["account"]
    list_filter = ["account"]
    ordering = ["-updated_at"]
    actions = ["test"]

    @admin.action(description="Send a test message", permissions=["view"])
    def test(self, request: HttpRequest, endpoints: QuerySet[Endpoint]) -> None:
        for endpoint in endpoints:
            _send_test(self, request, endpoint.account, endpoint.address)
