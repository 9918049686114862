"""Reads of quotas and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.core.clock import day_end, quota_day
from apps.plans.entitlements import UNLIMITED, Entitlements, Limit, Unlimited
from apps.quotas.allowances import DAILY_FREE, PLAN
from apps.quotas.models import Allowance, Budget, DailyKeyUsage, DailyUsage, MonthlyKeyUsage
from apps.quotas.months import calls_of_days, weight_at
from apps.quotas.periods import allowance_period, current_month, month_end, month_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Today's calls of one account."""

    used: int
    """Calls whose job succeeded."""
    reserved: int
    """Calls whose job is still open."""
    limit: Limit
    remaining: Limit
    """Calls left today without paying for them; never negative, even after the limit was lowered."""
    resets_at: datetime


def get_usage(*, account: Account, entitlements: Entitlements, now: datetime) -> Usage:
    """How much of today's quota is gone; one query."""
    day = quota_day(now, zone=account.time_zone)
    row = DailyUsage.objects.filter(account=account, day=day).first()
    used, reserved = (row.settled, row.reserved) if row else (0, 0)
    return Usage(
        used=used,
        reserved=reserved,
        limit=entitlements.daily_calls,
        remaining=_left(entitlements.daily_calls, used + reserved),
        resets_at=day_end(day, zone=account.time_zone),
    )


def _left(limit: Limit, taken: int) -> Limit:
    return UNLIMITED if isinstance(limit, Unlimited) else max(0, limit - taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """How much of one limit or allowance is gone."""

    limit: Limit
    used: int
    """Those of open jobs included."""
    remaining: Limit
    resets_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthUsage:
    """The present calendar month of one account, in its own time zone."""

    calls: Taken
    """Accepted calls, whoever pays."""
    included: Taken
    """Of the calls that the plan pays for: in the month of its subscription, where there is one."""
    free_today: Taken
    """Of the calls that cost nothing, by the day."""
    fair_use_limit: Limit
    weight: float
    """The account's present share of the device."""
    full_weight: float
    """Its share within fair use."""

    @property
    def is_beyond_fair_use(self) -> bool:
        return self.weight < self.full_weight


def get_month(*, account: Account, entitlements: Entitlements, now: datetime) -> MonthUsage:
    """How much of the month's limits and of the allowances is gone; two queries."""
    day = quota_day(now, zone=account.time_zone)
    month = month_of(day)
    calls = calls_of_days(account_id=account.pk, month=month)
    period = allowance_period(entitlements, zone=account.time_zone, now=now)
    rows = Allowance.objects.filter(account=account, period__in=[day, period.key])
    taken = {(row.source, row.period): row.reserved + row.settled for row in rows}
    ends = month_end(month, zone=account.time_zone)
    included, included_ends = taken.get((PLAN, period.key), 0), period.ends_at
    if isinstance(entitlements.included_calls_per_month, Unlimited):
        # They are not counted by themselves: the month's calls say how much the account uses.
        included, included_ends = calls, ends
    return MonthUsage(
        calls=_taken(entitlements.calls_per_month, calls, ends),
        included=_taken(entitlements.included_calls_per_month, included, included_ends),
        free_today=_taken(
            entitlements.free_calls_per_day,
            taken.get((DAILY_FREE, day), 0),
            day_end(day, zone=account.time_zone),
        ),
        fair_use_limit=entitlements.fair_use_calls_per_month,
        weight=weight_at(entitlements=entitlements, calls=calls),
        full_weight=entitlements.weight,
    )


def _taken(limit: Limit, used: int, resets_at: datetime) -> Taken:
    return Taken(limit=limit, used=used, remaining=_left(limit, used), resets_at=resets_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    """One day of the account's time zone."""

    day: date
    calls: int
    """Whose job succeeded."""


def list_days(*, account: Account, now: datetime, count: int) -> list[DayUsage]:
    """The last `count` days, today first; days without calls are there, too. One query."""
    today = quota_day(now, zone=account.time_zone)
    days = [today - timedelta(days=back) for back in range(count)]
    rows = DailyUsage.objects.filter(account=account, day__gte=days[-1]).values_list("day", "settled")
    settled = dict(rows)
    return [DayUsage(day=day, calls=settled.get(day, 0)) for day in days]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCaps:
    """How much of a key's own caps is gone; None where it has none."""

    day: Taken | None
    month: Taken | None


def get_key_caps(*, account: Account, keys: Sequence[ApiKey], now: datetime) -> dict[int, KeyCaps]:
    """By the key's primary key; two queries for all of the account's keys."""
    day = quota_day(now, zone=account.time_zone)
    month = month_of(day)
    days = dict(DailyKeyUsage.objects.filter(api_key__in=keys, day=day).values_list("api_key", "calls"))
    months = dict(
        MonthlyKeyUsage.objects.filter(api_key__in=keys, month=month).values_list("api_key", "calls")
    )
    day_ends, month_ends = day_end(day, zone=account.time_zone), month_end(month, zone=account.time_zone)
    return {
        key.pk: KeyCaps(
            day=None if key.daily_cap is None else _taken(key.daily_cap, days.get(key.pk, 0), day_ends),
            month=None
            if key.monthly_cap is None
            else _taken(key.monthly_cap, months.get(key.pk, 0), month_ends),
        )
        for key in keys
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUsage:
    """A budget with what is spent of it this month; micro-USD."""

    budget: Budget
    spent_micro: int
    remaining_micro: int
    """Never negative, although soft budgets are overdrawn."""
    percent: int
    """Spent of the limit, rounded down."""
    resets_at: datetime


def list_budgets(*, account: Account, now: datetime) -> list[BudgetUsage]:
    """The account's own budget first, then its keys'; one query."""
    month = current_month(now, zone=account.time_zone)
    rows = Budget.objects.filter(account=account).select_related("account", "api_key")
    resets_at = month_end(month, zone=account.time_zone)
    found = []
    for row in sorted(rows, key=lambda each: (each.api_key_id is not None, each.pk)):
        spent = row.spent_in(month)
        found.append(
            BudgetUsage(
                budget=row,
                spent_micro=spent,
                remaining_micro=max(0, row.limit_micro - spent),
                percent=spent * 100 // row.limit_micro,
                resets_at=resets_at,
            )
        )
    return found
