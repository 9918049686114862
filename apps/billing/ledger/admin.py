"""The ledger in the console: to look at, never to change. Money moves through services alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from apps.audit.admin_bases import ReadOnlyAdmin
from apps.billing.ledger.models import Hold, LedgerAccount, LedgerEntry, LedgerLine
from apps.billing.money import format_usd

if TYPE_CHECKING:
    _LineInline = admin.TabularInline[LedgerLine, LedgerEntry]
else:
    # Django's class takes type parameters only while types are checked.
    _LineInline = admin.TabularInline


class MoneyColumns:
    """`amount`, and what else is in micro-dollars, for people."""

    @admin.display(description="amount", ordering="amount_micro")
    def amount(self, row: LedgerEntry | LedgerLine | Hold) -> str:
        return format_usd(row.amount_micro)


class LedgerLineInline(MoneyColumns, _LineInline):
    model = LedgerLine
    fields = ("ledger_account", "amount")
    readonly_fields = ("ledger_account", "amount")
    can_delete = False
    extra = max_num = 0


@admin.register(LedgerEntry)
class LedgerEntryAdmin(MoneyColumns, ReadOnlyAdmin[LedgerEntry]):
    list_display = ["at", "name", "account", "amount", "job_id", "memo", "key"]
    list_select_related = ["account"]
    list_filter = ["name", "account"]
    search_fields = ["key", "memo"]
    ordering = ["-id"]
    inlines = [LedgerLineInline]


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin[LedgerAccount]):
    list_display = ["id", "kind", "account", "balance", "expires_at"]
    list_select_related = ["account"]
    list_filter = ["kind", "account"]
    ordering = ["-id"]

    @admin.display(description="balance", ordering="balance_micro")
    def balance(self, row: LedgerAccount) -> str:
        return "sum of its lines" if row.balance_micro is None else format_usd(row.balance_micro)


@admin.register(LedgerLine)
class LedgerLineAdmin(MoneyColumns, ReadOnlyAdmin[LedgerLine]):
    list_display = ["entry", "ledger_account", "amount"]
    list_select_related = ["entry", "ledger_account__account"]
    list_filter = ["ledger_account__kind"]
    ordering = ["-id"]


@admin.register(Hold)
class HoldAdmin(MoneyColumns, ReadOnlyAdmin[Hold]):
    list_display = ["at", "account", "job_id", "source", "amount", "state", "captured", "ended_at"]
    list_select_related = ["account"]
    list_filter = ["state", "source", "account"]
    ordering = ["-id"]

    @admin.display(description="captured", ordering="captured_micro")
    def captured(self, row: Hold) -> str:
        return format_usd(row.captured_micro)
