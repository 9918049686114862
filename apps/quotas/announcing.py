"""Tells of budgets that are half, nearly or wholly spent: each threshold once a month, by mail and webhook.

A task looks once a minute, so that no job waits for it. A hard budget that refuses a call is as good as
spent, whatever is left of it, and is told of at once. The row remembers the highest threshold that was told;
of two at once the second waits for its lock, and finds nothing to tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F

from apps.accounts.choices import Role
from apps.accounts.mailing import queue_mail_to_roles
from apps.accounts.roles import roles_with
from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.core.money import format_usd
from apps.quotas.budgets import BUDGET_DIALECT
from apps.quotas.models import Budget
from apps.quotas.periods import current_month, month_end
from apps.webhooks.bodies import Event
from apps.webhooks.models import Delivery
from apps.webhooks.services import queue_delivery
from apps.webhooks.wishes import WebhookWish

THRESHOLDS: Final = (50, 80, 100)
EVENT: Final = "budget.threshold"


def passed_thresholds(*, spent_micro: int, limit_micro: int, told: int) -> list[int]:
    """Which are to be told of now, the lowest first. Pure."""
    return [each for each in THRESHOLDS if told < each and spent_micro * 100 >= limit_micro * each]


def announce_thresholds(now: datetime) -> int:
    """Tell of every threshold that was passed and not told of; how many."""
    told = 0
    suspects = Budget.objects.filter(spent_micro__gte=F("limit_micro") / 2, announced_percent__lt=100)
    for pk in list(suspects.order_by("pk").values_list("pk", flat=True)):
        told += _announce(pk, now)
    return told


def announce_refusal(*, budget_ids: Sequence[int], now: datetime) -> int:
    """Tell that hard budgets have refused a call, as 100 % and once a month; how many thresholds were told.

    For after the rollback that the refusal needs: within that transaction nothing would be left of it.
    """
    told = 0
    for pk in budget_ids:
        # One cheap look keeps callers who go on trying from waiting for each other's locks.
        row = Budget.objects.filter(pk=pk).values_list("month", "announced_percent", "account__time_zone")
        for month, percent, zone in row:
            if percent < THRESHOLDS[-1] or month != current_month(now, zone=zone):
                told += _announce(pk, now, has_refused=True)
    return told


def _announce(pk: int, now: datetime, *, has_refused: bool = False) -> int:
    with transaction.atomic(durable=True):
        # Locked, so that what is told is what the row remembers; it may have been removed meanwhile.
        rows = Budget.objects.select_related("account", "api_key").select_for_update(of=("self",))
        budget = rows.filter(pk=pk).first()
        if budget is None:
            return 0
        month = current_month(now, zone=budget.account.time_zone)
        if budget.month != month and has_refused:
            # Refused before anything was spent this month, so that the row speaks of an earlier one.
            budget.month, budget.spent_micro, budget.announced_percent = month, 0, 0
        if budget.month != month:
            return 0
        passed = passed_thresholds(
            spent_micro=budget.spent_micro, limit_micro=budget.limit_micro, told=budget.announced_percent
        )
        is_refusal = has_refused and max([budget.announced_percent, *passed]) < THRESHOLDS[-1]
        for percent in passed:
            _tell(budget, percent, now)
        if is_refusal:
            _tell(budget, THRESHOLDS[-1], now, is_refusal=True)
            passed.append(THRESHOLDS[-1])
        if passed:
            budget.announced_percent = passed[-1]
            budget.save(update_fields=["month", "spent_micro", "announced_percent"])
    return len(passed)


def _tell(budget: Budget, percent: int, now: datetime, *, is_refusal: bool = False) -> None:
    """Part. A refusal may come with something left, which was too little."""
    facts = _facts(budget, percent)
    audit.record(
        "quotas.budget.threshold_passed",
        actor=SYSTEM,
        subject=budget.ref,
        account_id=budget.account_id,
        data=facts,
        now=now,
    )
    owner = budget.account.name if budget.api_key is None else f"{budget.account.name}, {budget.api_key.name}"
    queue_mail_to_roles(
        account=budget.account,
        roles=[role for role in Role if role in roles_with("billing")],
        template="budget_threshold",
        context={
            "owner": owner,
            "percent": percent,
            "spent": format_usd(budget.spent_micro),
            "limit": format_usd(budget.limit_micro),
            "refuses": budget.is_hard and percent >= 100,
            "is_refusal": is_refusal,
            "url": f"{settings.BASE_URL}/portal/billing",
        },
        # With the limit: a raised one is a new budget to those who pay.
        key=f"budget:{budget.pk}:{budget.month}:{budget.limit_micro}:{percent}",
        now=now,
    )
    if budget.webhook_url:
        _queue_webhook(budget, facts, now)


def _facts(budget: Budget, percent: int) -> Mapping[str, str | int | bool | None]:
    return {
        "account": budget.account.slug,
        "key": None if budget.api_key is None else budget.api_key.prefix,
        "percent": percent,
        "spent_micro": budget.spent_micro,
        "limit_micro": budget.limit_micro,
        "currency": "usd",
        "is_hard": budget.is_hard,
        "month": f"{budget.month:%Y-%m}",
    }


def _queue_webhook(budget: Budget, facts: Mapping[str, object], now: datetime) -> None:
    """The body is written here: the spending has changed when it is sent."""
    ends = month_end(_next(budget.month), zone=budget.account.time_zone)
    delivery = queue_delivery(
        account_id=budget.account_id,
        job_id=None,
        event=EVENT,
        target=WebhookWish(url=budget.webhook_url, dialect=BUDGET_DIALECT).target,
        expires_at=ends,
        now=now,
    )
    whole = {"type": EVENT, "timestamp": _iso(now), "data": dict(facts)}
    body = json.dumps(whole, separators=(",", ":")).encode("ascii")
    Delivery.objects.filter(pk=delivery.pk).update(body=body)


def budget_body(event: Event) -> Mapping[str, object]:
    """What is sent again once the figures have been deleted with the log's other bodies."""
    message = "The figures of this message have been deleted; ask GET /v1/usage for the present ones."
    return {"type": EVENT, "timestamp": _iso(event.created_at), "data": {"message": message}}


def _next(month: date) -> date:
    year, index = divmod(month.year * 12 + month.month, 12)
    return date(year, index + 1, 1)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
