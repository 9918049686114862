"""Calls that cost nothing: those that the plan's price includes, and the free ones of the day. Parts, all.

An allowance that is not limited is not counted and has no row: such accounts pay for no further statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from django.db import connection

from apps.accounts.models import Account
from apps.core.clock import quota_day
from apps.core.db import require_transaction
from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.quotas.errors import ReservationMissing
from apps.quotas.periods import allowance_period

PLAN: Final = "plan"
DAILY_FREE: Final = "daily_free"
TAKE_SQL: Final = """
INSERT INTO quotas_allowance AS taken (account_id, source, period, reserved, settled)
VALUES (%(account)s, %(source)s, %(period)s, %(calls)s, 0)
    ON CONFLICT (account_id, source, period) DO UPDATE SET reserved = taken.reserved + excluded.reserved
 WHERE taken.reserved + taken.settled + excluded.reserved <= %(limit)s
"""
# Locked in the order in which submits try them, so that workers never wait for each other in a circle.
END_SQL: Final = """
WITH taken AS (
    SELECT * FROM unnest(%(accounts)s::bigint[], %(sources)s::text[], %(periods)s::date[],
                         %(calls)s::bigint[]) AS taken (account_id, source, period, calls)
), held AS MATERIALIZED (
    SELECT allowance.id, account_id, source, period, taken.calls
      FROM quotas_allowance AS allowance JOIN taken USING (account_id, source, period)
     ORDER BY account_id, source = 'daily_free', period FOR NO KEY UPDATE OF allowance
), ended AS (
    UPDATE quotas_allowance AS allowance
       SET reserved = allowance.reserved - held.calls,
           settled = allowance.settled + CASE WHEN %(is_settled)s THEN held.calls ELSE 0 END
      FROM held WHERE allowance.id = held.id AND allowance.reserved >= held.calls
    RETURNING allowance.id
)
SELECT account_id, source, period FROM held WHERE id NOT IN (SELECT id FROM ended)
"""


class TakenFrom(NamedTuple):
    """An allowance: whose, "plan" or "daily_free", and the first day of its period, or its day."""

    account_id: int
    source: str
    period: date


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
    _end(account_id, source, period, calls, is_settled=True)


def release_allowance(*, account_id: int, source: str, period: date, calls: int) -> None:
    """Give reserved calls back: their job delivered nothing. Raises ReservationMissing."""
    _end(account_id, source, period, calls, is_settled=False)


def _end(account_id: int, source: str, period: date, calls: int, *, is_settled: bool) -> None:
    taken = {TakenFrom(account_id, source, period): calls}
    if end_allowances(taken, is_settled=is_settled):
        raise ReservationMissing(
            f"account {account_id} has not reserved {calls} calls of {source} in {period}"
        )


def end_allowances(taken: Mapping[TakenFrom, int], *, is_settled: bool) -> set[TakenFrom]:
    """`settle_allowance` of several, or else `release_allowance`, by which `taken` names its calls.

    One statement. Returns those that had not reserved as many, of which nothing is written. Without a row
    nothing was ever counted: the allowance was unlimited when the call was accepted.
    """
    require_transaction()
    if not taken:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            END_SQL,
            {
                "accounts": [by.account_id for by in taken],
                "sources": [by.source for by in taken],
                "periods": [by.period for by in taken],
                "calls": list(taken.values()),
                "is_settled": is_settled,
            },
        )
        return {TakenFrom(*row) for row in cursor.fetchall()}
