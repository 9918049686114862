"""Usage events in the console."""

from __future__ import annotations

from django.contrib import admin

from apps.audit.admin_bases import ReadOnlyAdmin
from apps.billing.models import UsageEvent


@admin.register(UsageEvent)
class UsageEventAdmin(ReadOnlyAdmin[UsageEvent]):
    list_display = ["at", "account", "job_id", "calls", "images", "pixels", "checkpoint"]
    list_select_related = ["account"]
    list_filter = ["account"]
    ordering = ["-id"]
