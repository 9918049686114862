"""Changes of plans, each of them audited."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.plans.models import AccountPlan, Plan


def set_plan(*, account: Account, plan: Plan, actor: Ref, now: datetime) -> None:
    """Put `account` on `plan`, from its next call on. Setting it again changes nothing."""
    with transaction.atomic(durable=True):
        current = AccountPlan.objects.select_for_update().filter(account=account).first()
        if current is not None and current.plan == plan:
            return
        AccountPlan.objects.update_or_create(account=account, defaults={"plan": plan, "since": now})
        audit.record(
            "plans.account_plan.set",
            actor=actor,
            subject=account.ref,
            account_id=account.pk,
            data={"before": current.plan.code if current else None, "after": plan.code},
            now=now,
        )


def save_plan(*, plan: Plan, actor: Ref, now: datetime) -> None:
    """Insert or replace a plan that has been cleaned. A new default takes over from the old one."""
    name = "plans.plan.created" if plan.pk is None else "plans.plan.changed"
    with transaction.atomic(durable=True):
        if plan.is_default:
            Plan.objects.filter(is_default=True).exclude(pk=plan.pk).update(is_default=False)
        plan.save()
        data = {"limits": plan.limits, "weight": plan.weight, "is_default": plan.is_default}
        audit.record(name, actor=actor, subject=plan.ref, data=data, now=now)
