"""The audit log in the console."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from apps.audit.admin_bases import ReadOnlyAdmin
from apps.audit.models import AuditEvent


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin[AuditEvent]):
    list_display = ["at", "name", "actor_label", "subject_kind", "subject_label", "is_sealed"]
    list_filter = ["actor_kind", "subject_kind"]
    list_select_related = ["link"]
    search_fields = ["name", "actor_label", "subject_label", "request_id"]
    ordering = ["-id"]

    @admin.display(boolean=True, description="sealed")
    def is_sealed(self, event: AuditEvent) -> bool:
        return hasattr(event, "link")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        # The history of a row is this page with its subject in the address.
        return lookup == "subject_id" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]
