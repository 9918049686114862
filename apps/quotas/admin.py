"""Daily usage in the console."""

from __future__ import annotations

from django.contrib import admin

from apps.audit.admin_bases import ReadOnlyAdmin
from apps.quotas.models import DailyKeyUsage, DailyUsage


@admin.register(DailyUsage)
class DailyUsageAdmin(ReadOnlyAdmin[DailyUsage]):
    list_display = ["day", "account", "settled", "reserved"]
    list_select_related = ["account"]
    list_filter = ["account"]
    ordering = ["-day", "account"]


@admin.register(DailyKeyUsage)
class DailyKeyUsageAdmin(ReadOnlyAdmin[DailyKeyUsage]):
    list_display = ["day", "api_key", "calls"]
    list_select_related = ["api_key"]
    ordering = ["-day", "api_key"]
