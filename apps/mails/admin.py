"""The outbox in the console: what went out, what waits, what was given up."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, urlize
from django.utils.safestring import SafeString, mark_safe

from apps.audit.admin_bases import ReadOnlyAdmin, actor_of
from apps.core import clock
from apps.core.errors import DomainError
from apps.mails.models import Mail
from apps.mails.services import send_again


@admin.register(Mail)
class MailAdmin(ReadOnlyAdmin[Mail]):
    list_display = [
        "created_at",
        "state",
        "recipients",
        "subject",
        "attempts",
        "due_at",
        "sent_at",
        "last_error",
    ]
    list_filter = ["state", "template"]
    search_fields = ["to", "subject"]
    ordering = ["-id"]
    readonly_fields = ["recipients", "message"]
    exclude = ["to", "text", "html", "key"]
    actions = ["send"]

    @admin.display(description="to")
    def recipients(self, mail: Mail) -> str:
        return ", ".join(mail.to)

    @admin.display
    def message(self, mail: Mail) -> SafeString:
        """The text with its links, until it is sent: where there is no mail server, operators pass it on."""
        if not mail.text:
            return format_html("{}", "sent; its text is not kept")
        # urlize escapes what it is given.
        linked = mark_safe(urlize(mail.text, autoescape=True))  # noqa: S308
        return format_html("<pre style='white-space:pre-wrap'>{}</pre>", linked)

    @admin.action(description="Send again", permissions=["view"])
    def send(self, request: HttpRequest, mails: QuerySet[Mail]) -> None:
        for mail in mails:
            try:
                send_again(mail=mail, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, f"{mail.subject}: {refusal}", messages.ERROR)
