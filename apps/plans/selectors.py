"""Reads of plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import F, FilteredRelation, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject

from apps.accounts.models import Account
from apps.core import clock
from apps.plans.choices import OPEN_STATES
from apps.plans.entitlements import Entitlements, parse_entitlements, read_limits
from apps.plans.models import AccountPlan, Contract, Plan, RetentionChoice, Subscription


def _held_plan(account: Account, now: datetime) -> QuerySet[Plan]:
    """The account's plan, or the default one, with the version it holds and its contract."""
    contract = (
        _contracts_at(account, now)
        .annotate(terms=JSONObject(limits=F("limits"), weight=F("weight"), price_micro=F("price_micro")))
        .values("terms")[:1]
    )
    return (
        Plan.objects.annotate(held=FilteredRelation("holders", condition=Q(holders__account=account)))
        .filter(Q(held__isnull=False) | Q(is_default=True))
        .annotate(
            kept_limits=F("held__terms__limits"),
            kept_weight=F("held__terms__weight"),
            period_start=F("held__subscription__period_start"),
            period_end=F("held__subscription__period_end"),
            contract=Subquery(contract),
            kept_days=Subquery(RetentionChoice.objects.filter(account=account).values("days")[:1]),
        )
        .order_by(F("held__id").asc(nulls_last=True))
    )


def _contracts_at(account: Account, now: datetime) -> QuerySet[Contract]:
    in_force = Q(starts_at__lte=now) & (Q(ends_at=None) | Q(ends_at__gt=now))
    return Contract.objects.filter(in_force, account=account).order_by("-starts_at", "-id")


def _find(account: Account, now: datetime | None) -> Any:
    """Any: a Plan with annotations."""
    plan = _held_plan(account, now or clock.now()).first()
    if plan is None:
        raise Plan.DoesNotExist("there is no default plan; run `manage.py bootstrap`")
    return plan


def get_plan(account: Account, *, now: datetime | None = None) -> Plan:
    """The account's plan, or the default one; one query. Raises Plan.DoesNotExist before `bootstrap` ran."""
    found: Plan = _find(account, now)
    return found


def get_entitlements(account: Account, *, now: datetime | None = None) -> Entitlements:
    """What `account` may do now: its version of the plan, and over it its contract; one query.

    Raises PlanMalformed for rows that were filled in past `clean`.
    """
    plan = _find(account, now)
    is_kept = plan.kept_limits is not None
    base = parse_entitlements(
        plan_code=plan.code,
        limits=plan.kept_limits if is_kept else plan.limits,
        weight=plan.kept_weight if is_kept else plan.weight,
    )
    changes: dict[str, Any] = {"period_start": plan.period_start, "period_end": plan.period_end}
    if plan.contract is not None:
        changes |= read_limits(plan.code, plan.contract["limits"])
        if plan.contract["weight"] is not None:
            changes["weight"] = float(plan.contract["weight"])
    # A choice that an earlier plan offered does not outlive it.
    if plan.kept_days in changes.get("retention_days", base.retention_days):
        changes["kept_days"] = plan.kept_days
    return replace(base, **changes)


def price_of(*, account: Account, plan: Plan, now: datetime) -> int:
    """Micro-USD a month that `account` pays for `plan`: its contract's price where that names one."""
    contracts = _contracts_at(account, now).filter(plan=plan).exclude(price_micro=None)
    agreed = contracts.values_list("price_micro", flat=True).first()
    return _uncontracted_price(account, plan) if agreed is None else agreed


def _uncontracted_price(account: Account, plan: Plan) -> int:
    """The plan's price, or that of its earlier version which the account has."""
    holding = AccountPlan.objects.filter(account=account, plan=plan)
    kept = holding.values_list("terms__price_micro", flat=True).first()
    return plan.price_micro if kept is None else kept


def get_subscription(account: Account) -> Subscription | None:
    """The open subscription that gives the account its plan, else the latest open one."""
    rows = Subscription.objects.filter(account=account, state__in=OPEN_STATES)
    giving = AccountPlan.objects.filter(account=account).values("subscription")
    return (
        rows.filter(pk__in=giving).select_related("plan", "next_plan").first()
        or rows.select_related("plan", "next_plan").first()
    )


def list_offered() -> list[Plan]:
    """What customers may choose, the cheapest first."""
    return list(Plan.objects.filter(is_public=True, archived_at=None).order_by("price_micro", "code"))
