"""Calls of a calendar month, of accounts whose plan limits them or has a rule of fair use.

The counter is a cache of the sum of the month's days, and begins with it, whenever in the month it begins.
"""

from __future__ import annotations

from datetime import date, datetime

from django.db import transaction
from django.db.models import F, Sum

from apps.accounts.models import Account
from apps.core.db import require_transaction
from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.quotas.models import DailyUsage, MonthlyUsage
from apps.quotas.periods import current_month, last_day, month_of

BEYOND_FAIR_USE = 0.25
"""What is left of an account's weight: it waits behind others, and has the machine while nobody wants it."""


def calls_of_days(*, account_id: int, month: date) -> int:
    """The truth: accepted calls of the month's days, those of open jobs included."""
    days = DailyUsage.objects.filter(account_id=account_id, day__range=(month, last_day(month)))
    total: int | None = days.aggregate(calls=Sum(F("reserved") + F("settled")))["calls"]
    return total or 0


def take_of_month(*, account: Account, day: date, count: int, limit: Limit) -> bool:
    """Count `count` calls of the month; False beyond its limit. A part, after the day's own row was taken.

    That row lets an account's submits through one by one, so that the sum with which the counter begins
    misses none of them.
    """
    require_transaction()
    month = month_of(day)
    rows = MonthlyUsage.objects.filter(account=account, month=month)
    if not isinstance(limit, Unlimited):
        rows = rows.filter(calls__lte=limit - count)
    if rows.update(calls=F("calls") + count):
        return True
    before = calls_of_days(account_id=account.pk, month=month) - count
    MonthlyUsage.objects.bulk_create(
        [MonthlyUsage(account=account, month=month, calls=before)], ignore_conflicts=True
    )
    return rows.update(calls=F("calls") + count) == 1


def count_calls(*, account: Account, now: datetime) -> int:
    """Accepted calls of the present month; one query."""
    return calls_of_days(account_id=account.pk, month=current_month(now, zone=account.time_zone))


def present_weight(*, account: Account, entitlements: Entitlements, now: datetime) -> float:
    """The account's share of the device; less beyond fair use. No query for plans without such a rule."""
    fair = entitlements.fair_use_calls_per_month
    if isinstance(fair, Unlimited):
        return entitlements.weight
    month = current_month(now, zone=account.time_zone)
    calls = MonthlyUsage.objects.filter(account=account, month=month).values_list("calls", flat=True).first()
    return weight_at(entitlements=entitlements, calls=calls or 0)


def weight_at(*, entitlements: Entitlements, calls: int) -> float:
    """The share of an account that has made `calls` calls this month, this one included."""
    fair = entitlements.fair_use_calls_per_month
    if isinstance(fair, Unlimited) or calls <= fair:
        return entitlements.weight
    return entitlements.weight * BEYOND_FAIR_USE


def reconcile_months(*, now: datetime) -> int:
    """Set counters of present months to the sum of their days where they differ; how many did.

    They may after a plan that counts months was left and taken again in the same month. A submit takes the
    day before the month, and this takes the month before it looks at days: what it does not see is counted
    after it.
    """
    changed = 0
    for pk, account_id, month in MonthlyUsage.objects.values_list("pk", "account_id", "month").filter(
        month__gte=month_of(now.date())
    ):
        with transaction.atomic(durable=True):
            row = MonthlyUsage.objects.select_for_update().get(pk=pk)
            calls = calls_of_days(account_id=account_id, month=month)
            if row.calls != calls:
                MonthlyUsage.objects.filter(pk=pk).update(calls=calls)
                changed += 1
    return changed
