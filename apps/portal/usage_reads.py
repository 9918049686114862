"""What the charts of usage need beyond `apps.billing.usage`: calls of each day, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, TypeAlias

from django.db.models import Q, Sum

from apps.accounts.models import Account
from apps.billing.models import UsageDay
from apps.billing.usage import By, Report, Totals

GROUPINGS: Final = (By.KIND, By.MODEL, By.KEY, By.FUNDING)
GroupValue: TypeAlias = "str | int | None"
"""A word, or a key's primary key; None is of calls without a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Days of the account's time zone, both included."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """Every day, oldest first."""
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]


def every_day(report: Report, within: Range) -> list[tuple[date, Totals]]:
    """Each day of the range, also those without a call; oldest first."""
    return [(day, report.by_day.get(day, Totals())) for day in within.days]


def groups_of(report: Report, grouping: By) -> list[tuple[GroupValue, Totals]]:
    """The groups of a report, those with the most calls first."""
    found: dict[By, Sequence[tuple[GroupValue, Totals]]] = {
        By.KIND: list(report.by_kind.items()),
        By.MODEL: list(report.by_model.items()),
        By.KEY: list(report.by_key.items()),
        By.FUNDING: list(report.by_funding.items()),
    }
    return sorted(found[grouping], key=lambda group: (-group[1].calls, str(group[0])))


def calls_by_day(
    *, account: Account, within: Range, grouping: By, values: Sequence[GroupValue]
) -> dict[GroupValue, list[int]]:
    """Calls of every day of the range, for each of `values`; one query."""
    column = grouping.value
    days = UsageDay.objects.filter(_any_of(column, values), account=account)
    rows = days.filter(day__gte=within.first, day__lte=within.last).values_list(column, "day")
    calls = {(value, day): count for value, day, count in rows.annotate(count=Sum("calls"))}
    return {value: [calls.get((value, day), 0) for day in within.days] for value in values}


def _any_of(column: str, values: Sequence[GroupValue]) -> Q:
    named = Q(**{f"{column}__in": [value for value in values if value is not None]})
    return named | Q(**{f"{column}__isnull": True}) if None in values else named
