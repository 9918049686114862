"""Calendar months as people type them."""

from __future__ import annotations

import calendar
import re
from datetime import date

from apps.core.errors import InvalidField

MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


def parse_month(text: str, *, field: str = "month") -> tuple[date, date]:
    """The first and last day of `2026-02`. Raises InvalidField, naming `field`."""
    found = MONTH.fullmatch(text)
    if found is None or found[1] < "1970":
        raise InvalidField(field=field, problem=f"must be a month such as 2026-02, not {text!r}")
    year, month = int(found[1]), int(found[2])
    return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])
