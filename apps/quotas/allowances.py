"""Calls that cost nothing: those that the plan's price includes, and the free ones of the day. Parts, all.

An allowance that is not limited is not counted and has no row: such accounts pay for no further statement.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from django.db import connection
from django.db.models import F

from apps.accounts.models import Account
from apps.core.clock import quota_day
from apps.core.db import require_transaction
from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.quotas.errors import ReservationMissing
from apps.quotas.models import Allowance
from apps.quotas.periods import allowance_period

PLAN: Final = "plan"
DAILY_FREE: Final = "daily_free"
TAKE_SQL: Final = """
INSERT INTO quotas_allowance AS taken (account_id, source, period, reserved, settled)
VALUES (%(account)s, %(source)s, %(period)s, %(calls)s, 0)
    ON CONFLICT (account_id, source, period) DO UPDATE SET reserved = taken.reserved + excluded.reserved
 WHERE taken.reserved + taken.settled + excluded.reserved <= %(limit)s
"""


def take_plan_allowance(
    *, account: Account, entitlements: Entitlements, calls: int, now: datetime
) -> date | None:
    """Reserve calls that the plan includes: the period's first day, or None where too few are left."""
    period = allowance_period(entitlements, zone=account.time_zone, now=now).key
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
    # One statement for the period's first call and all others; its limit stands in the WHERE clause: the
    # database lets one of two through to the last call.
    with connection.cursor() as cursor:
        cursor.execute(
            TAKE_SQL,
            {"account": account.pk, "source": source, "period": period, "calls": calls, "limit": limit},
        )
        return period if cursor.rowcount == 1 else None


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
