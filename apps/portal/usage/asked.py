"""Which days and which grouping a reader asks for, read strictly from the address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.billing.usage import By
from apps.core.errors import InvalidField
from apps.portal.usage_reads import GROUPINGS, Range

MAX_DAYS: Final = 366
RANGES: Final = {"7": _("7 days"), "30": _("30 days"), "90": _("90 days"), "month": _("This month")}
DEFAULT_RANGE: Final = "30"
DEFAULT_GROUPING: Final = By.KIND
BY: Final = {
    By.KIND: _("By kind"),
    By.MODEL: _("By model"),
    By.KEY: _("By key"),
    By.FUNDING: _("By source"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be shown."""

    within: Range
    range_name: str
    """One of RANGES; empty for days that the reader named."""
    grouping: By

    def query(self, **changes: str) -> str:
        """The same question as a query string, but for what is named."""
        days = {"range": self.range_name} if self.range_name else _named(self.within)
        if "range" in changes:
            days = {}
        return urlencode(days | {"by": self.grouping.value} | changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several that can be chosen."""

    title: str | Promise
    query: str
    is_current: bool


def _named(within: Range) -> dict[str, str]:
    return {"from": within.first.isoformat(), "to": within.last.isoformat()}


def read_asked(fields: QueryDict, *, today: date) -> Asked:
    """Raises InvalidField, which names the field and what is allowed."""
    by = fields.get("by", DEFAULT_GROUPING.value)
    grouping = next((each for each in GROUPINGS if each.value == by), None)
    if grouping is None:
        raise InvalidField(field="by", problem=f"must be one of {', '.join(GROUPINGS)}")
    if "from" in fields or "to" in fields:
        return Asked(within=_read_days(fields, today=today), range_name="", grouping=grouping)
    name = fields.get("range", DEFAULT_RANGE)
    if name not in RANGES:
        raise InvalidField(field="range", problem=f"must be one of {', '.join(RANGES)}")
    first = today.replace(day=1) if name == "month" else today - timedelta(days=int(name) - 1)
    return Asked(within=Range(first=first, last=today), range_name=name, grouping=grouping)


def _read_days(fields: QueryDict, *, today: date) -> Range:
    first = _read_day(fields, "from", otherwise=today)
    last = _read_day(fields, "to", otherwise=today)
    if first > last:
        raise InvalidField(field="from", problem="must not be after the last day")
    if (last - first).days >= MAX_DAYS:
        raise InvalidField(field="from", problem=f"must be less than {MAX_DAYS} days before the last day")
    return Range(first=first, last=last)


def _read_day(fields: QueryDict, name: str, *, otherwise: date) -> date:
    text = fields.get(name, "")
    if not text:
        return otherwise
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidField(field=name, problem="must be a day such as 2026-03-31") from None


def range_choices(asked: Asked) -> list[Choice]:
    """The ranges that can be chosen with one click."""
    return [
        Choice(title=title, query=asked.query(range=name), is_current=name == asked.range_name)
        for name, title in RANGES.items()
    ]


def grouping_choices(asked: Asked) -> list[Choice]:
    """The groupings that can be chosen."""
    return [
        Choice(title=BY[name], query=asked.query(by=name.value), is_current=name == asked.grouping)
        for name in GROUPINGS
    ]
