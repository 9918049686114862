"""Usage events, and who may pay later, in the console; prices have a page of their own."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest

from apps.audit.admin_bases import ActsAdmin, ReadOnlyAdmin, actor_of
from apps.billing.invoices import admin as invoices_admin  # noqa: F401
from apps.billing.ledger import admin as ledger_admin  # noqa: F401
from apps.billing.models import PayAsYouGo, UsageEvent
from apps.billing.pay_later import set_pay_as_you_go
from apps.billing.prices import admin as prices_admin  # noqa: F401  # Django looks for pages in modules named admin alone
from apps.core import clock


@admin.register(UsageEvent)
class UsageEventAdmin(ReadOnlyAdmin[UsageEvent]):
    list_display = [
        "at",
        "account",
        "job_id",
        "calls",
        "images",
        "pixels",
        "checkpoint",
        "funding",
        "price_micro",
    ]
    list_select_related = ["account"]
    list_filter = ["account"]
    ordering = ["-id"]


@admin.register(PayAsYouGo)
class PayAsYouGoAdmin(ActsAdmin[PayAsYouGo]):
    list_display = ["account", "is_allowed", "changed_at"]
    list_select_related = ["account"]
    fields = ["account", "is_allowed"]

    def get_readonly_fields(self, request: HttpRequest, obj: PayAsYouGo | None = None) -> list[str]:
        return [] if obj is None else ["account"]

    def save_model(self, request: HttpRequest, obj: PayAsYouGo, form: Any, change: bool) -> None:
        with transaction.atomic(durable=True):
            set_pay_as_you_go(
                account=obj.account, is_allowed=obj.is_allowed, actor=actor_of(request), now=clock.now()
            )
        obj.pk = PayAsYouGo.objects.get(account=obj.account).pk
