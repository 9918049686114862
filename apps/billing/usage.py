"""What an account used over a range of days: for pages, exports and `GET /v1/usage`.

Read from days added up, never from single events: a month of a million events is a few thousand rows. The
figures are those of delivered jobs, by the quota day on which they were accepted, and never behind.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from django.db import connection

from apps.accounts.models import Account
from apps.billing.models import UsageEvent


class By(enum.StrEnum):
    """What usage may be added up by."""

    DAY = "day"
    KEY = "api_key_id"
    MODEL = "checkpoint"
    KIND = "kind"
    FUNDING = "funding"


DIMENSIONS: Final = (By.DAY, By.KEY, By.MODEL, By.KIND, By.FUNDING)
"""In the order of TOTALS_SQL."""
# One pass over the rows for all of them. `grouping` has a bit for each dimension that a row is not about.
TOTALS_SQL: Final = """
SELECT grouping(day, api_key_id, checkpoint, kind, funding), day, api_key_id, checkpoint, kind, funding,
       COALESCE(sum(calls), 0), COALESCE(sum(images), 0), COALESCE(sum(pixels), 0),
       COALESCE(sum(price_micro), 0)
  FROM billing_usageday
 WHERE account_id = %(account)s AND day BETWEEN %(first)s AND %(last)s
   AND (%(key)s::bigint IS NULL OR api_key_id = %(key)s)
 GROUP BY GROUPING SETS ((), (day), (api_key_id), (checkpoint), (kind), (funding))
"""
ALL: Final = (1 << len(DIMENSIONS)) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Delivered work, added up."""

    calls: int = 0
    images: int = 0
    pixels: int = 0
    price_micro: int = 0
    """What it cost, in micro-USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Usage of one account over a range of days, by each dimension; names without usage are left out."""

    first: date
    last: date
    """Included."""
    total: Totals
    by_day: Mapping[date, Totals]
    by_key: Mapping[int | None, Totals]
    """By the key's primary key; None is of calls without one."""
    by_model: Mapping[str, Totals]
    """By the checkpoint's name at the time; "" is of kinds without one."""
    by_kind: Mapping[str, Totals]
    """"" is of events of versions that did not note it."""
    by_funding: Mapping[str, Totals]


def price_used(job_id: int) -> int:
    """Micro-USD that the usage of one job cost; 0 for what cost nothing, or was not recorded."""
    prices = UsageEvent.objects.filter(job_id=job_id).values_list("price_micro", flat=True)
    return prices.first() or 0


def usage_report(*, account: Account, first: date, last: date, api_key_id: int | None = None) -> Report:
    """Usage of the days from `first` to `last`, of one key if it is named; one query.

    Raises ValueError for a range that ends before it begins.
    """
    if last < first:
        raise ValueError(f"a range cannot end on {last}, before it begins on {first}")
    found: dict[By, dict[object, Totals]] = {dimension: {} for dimension in DIMENSIONS}
    total = Totals()
    parameters: dict[str, int | date | None] = {
        "account": account.pk,
        "first": first,
        "last": last,
        "key": api_key_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(TOTALS_SQL, parameters)
        for row in cursor.fetchall():
            position = _dimension_of(row[0])
            sums = _totals(row[1 + len(DIMENSIONS) :])
            if position is None:
                total = sums
            else:
                found[DIMENSIONS[position]][row[1 + position]] = sums
    return Report(
        first=first,
        last=last,
        total=total,
        by_day=_ordered(found[By.DAY]),  # type: ignore[arg-type]  # keys are what the column holds
        by_key=found[By.KEY],  # type: ignore[arg-type]
        by_model=_ordered(found[By.MODEL]),  # type: ignore[arg-type]
        by_kind=_ordered(found[By.KIND]),  # type: ignore[arg-type]
        by_funding=_ordered(found[By.FUNDING]),  # type: ignore[arg-type]
    )


def _dimension_of(left_out: int) -> int | None:
    """Which dimension a row is about, by the mask, whose highest bit is the first; None is the total."""
    kept = ALL & ~left_out
    return None if kept == 0 else len(DIMENSIONS) - kept.bit_length()


def _totals(sums: Sequence[object]) -> Totals:
    calls, images, pixels, price_micro = (int(str(value)) for value in sums)
    return Totals(calls=calls, images=images, pixels=pixels, price_micro=price_micro)


def _ordered(totals: dict[object, Totals]) -> dict[object, Totals]:
    return {name: totals[name] for name in sorted(totals, key=str)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """One row of an export: a day's usage of one key, model, kind and funding."""

    day: date
    api_key_id: int | None
    checkpoint: str
    kind: str
    funding: str
    totals: Totals


LINES_SQL: Final = """
SELECT day, api_key_id, checkpoint, kind, funding, calls, images, pixels, price_micro FROM billing_usageday
 WHERE account_id = %(account)s AND day BETWEEN %(first)s AND %(last)s
 ORDER BY day, api_key_id NULLS FIRST, checkpoint, kind, funding
"""


def usage_lines(*, account: Account, first: date, last: date) -> list[UsageLine]:
    """Every day's usage as finely as it is kept, in one order; for exports. One query."""
    with connection.cursor() as cursor:
        cursor.execute(LINES_SQL, {"account": account.pk, "first": first, "last": last})
        rows = cursor.fetchall()
    return [
        UsageLine(
            day=day,
            api_key_id=api_key_id,
            checkpoint=checkpoint,
            kind=kind,
            funding=funding,
            totals=_totals(sums),
        )
        for day, api_key_id, checkpoint, kind, funding, *sums in rows
    ]
