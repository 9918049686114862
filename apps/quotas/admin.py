"""Usage and budgets in the console."""

from __future__ import annotations

from django.contrib import admin

from apps.audit.admin_bases import ReadOnlyAdmin
from apps.quotas.models import Allowance, Budget, DailyKeyUsage, DailyUsage, MonthlyKeyUsage, MonthlyUsage


@admin.register(DailyUsage)
class DailyUsageAdmin(ReadOnlyAdmin[DailyUsage]):
    list_display = ["day", "account", "settled", "reserved"]
    list_select_related = ["account"]
    list_filter = ["account"]
    ordering = ["-day", "account"]


@admin.register(MonthlyUsage)
class MonthlyUsageAdmin(ReadOnlyAdmin[MonthlyUsage]):
    list_display = ["month", "account", "calls"]
    list_select_related = ["account"]
    ordering = ["-month", "account"]


@admin.register(Allowance)
class AllowanceAdmin(ReadOnlyAdmin[Allowance]):
    list_display = ["period", "source", "account", "settled", "reserved"]
    list_select_related = ["account"]
    list_filter = ["source"]
    ordering = ["-period", "account"]


@admin.register(DailyKeyUsage)
class DailyKeyUsageAdmin(ReadOnlyAdmin[DailyKeyUsage]):
    list_display = ["day", "api_key", "calls"]
    list_select_related = ["api_key"]
    ordering = ["-day", "api_key"]


@admin.register(MonthlyKeyUsage)
class MonthlyKeyUsageAdmin(ReadOnlyAdmin[MonthlyKeyUsage]):
    list_display = ["month", "api_key", "calls"]
    list_select_related = ["api_key"]
    ordering = ["-month", "api_key"]


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin[Budget]):
    list_display = ["account", "api_key", "limit_micro", "is_hard", "month", "spent_micro"]
    list_select_related = ["account", "api_key"]
