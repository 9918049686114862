"""Calls that cost nothing: those that the plan's price includes, and the free ones of the day. Parts, all.

An allowance that is not limited is not counted and has no row: such accounts pay for no further statement.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from django.db.models import F

from apps.accounts.models import Account
from apps.core.clock import quota_day
from apps.core.db import require_transaction
from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.quotas.errors import ReservationMissing
from apps.quotas.models import Allowance
from apps.quotas.periods import month_of

PLAN: Final = "plan"
DAILY_FREE: Final = "daily_free"


def take_plan_allowance(
    *, account: Account, entitlements: Entitlements, calls: int, now: datetime
) -> date | None:
    """Reserve calls that the plan includes: the month's first day, or None where too few are left."""
    period = month_of(quota_day(now, zone=account.time_zone))
    limit = entitlements.included_calls_per_month
    return _take(account=account, source=PLAN, period=period, calls=calls, limit=limit)


def take_daily_free(
    *, account: Account, entitlements: Entitlements, calls: int, now: datetime
) -> date | None:
    """Reserve free calls of the day: the day, or None where too few are left."""
    period = quota_day(now, zone=account.time_zone)
    limit = entitlements.free_calls_per_day
    return _take(account=account, source=DAILY_FREE, period=period, calls=calls, limit=limit)


def _take(*, account: Account, source: str, period: date, calls: int, limit: Limit) -> date | None:
    require_transaction()
    if isinstance(limit, Unlimited):
        return period
    if limit < calls:
        return None
    rows = Allowance.objects.filter(account=account, source=source, period=period)
    # The limit stands in the WHERE clause: the database lets one of two through to the last call.
    left = rows.filter(reserved__lte=limit - calls - F("settled"))
    if left.update(reserved=F("reserved") + calls):
        return period
    Allowance.objects.bulk_create(
        [Allowance(account=account, source=source, period=period)], ignore_conflicts=True
    )
    return period if left.update(reserved=F("reserved") + calls) == 1 else None


def settle_allowance(*, account_id: int, source: str, period: date, calls: int) -> None:
    """Turn reserved calls into used ones: their job succeeded. Raises ReservationMissing."""
    _end(account_id, source, period, calls, settled=calls)


def release_allowance(*, account_id: int, source: str, period: date, calls: int) -> None:
    """Give reserved calls back: their job delivered nothing. Raises ReservationMissing."""
    _end(account_id, source, period, calls, settled=0)


def _end(account_id: int, source: str, period: date, calls: int, *, settled: int) -> None:
    require_transaction()
    rows = Allowance.objects.filter(account_id=account_id, source=source, period=period)
    held = rows.filter(reserved__gte=calls)
    if held.update(reserved=F("reserved") - calls, settled=F("settled") + settled):
        return
    # Without a row nothing was ever counted: the allowance was unlimited when the call was accepted.
    if rows.exists():
        raise ReservationMissing(
            f"account {account_id} has not reserved {calls} calls of {source} in {period}"
        )
