"""Plans, and who is on which, in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.audit.admin_bases import ActsAdmin, actor_of
from apps.core import clock
from apps.plans import services
from apps.plans.models import AccountPlan, Plan


@admin.register(Plan)
class PlanAdmin(ActsAdmin[Plan]):
    list_display = ["code", "name", "calls_per_day", "queue_depth", "weight", "is_default"]

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> list[str]:
        return [] if obj is None else ["code"]

    @admin.display(description="calls a day")
    def calls_per_day(self, plan: Plan) -> str:
        return str(plan.limits.get("calls_per_day"))

    @admin.display(description="queue depth")
    def queue_depth(self, plan: Plan) -> str:
        return str(plan.limits.get("queue_depth"))

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        services.save_plan(plan=obj, actor=actor_of(request), now=clock.now())


@admin.register(AccountPlan)
class AccountPlanAdmin(ActsAdmin[AccountPlan]):
    list_display = ["account", "plan", "since"]
    list_select_related = ["account", "plan"]
    fields = ["account", "plan"]

    def get_readonly_fields(self, request: HttpRequest, obj: AccountPlan | None = None) -> list[str]:
        return [] if obj is None else ["account"]

    def save_model(self, request: HttpRequest, obj: AccountPlan, form: Any, change: bool) -> None:
        services.set_plan(account=obj.account, plan=obj.plan, actor=actor_of(request), now=clock.now())
        obj.pk = AccountPlan.objects.get(account=obj.account).pk
