"""Usage to take away: one line a day, key, model, kind and source. Words are the API's, in no language."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from apps.accounts.models import Account
from apps.billing.usage import usage_lines
from apps.portal.usage.named import key_names
from apps.portal.usage_reads import Range

COLUMNS: Final = ("day", "key", "model", "kind", "funding", "calls", "images", "pixels", "price_micro")
# What a spreadsheet takes for the beginning of a formula.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")

Row = dict[str, str | int]


def export_rows(*, account: Account, within: Range) -> list[Row]:
    """The lines of a range, oldest first; two queries."""
    lines = usage_lines(account=account, first=within.first, last=within.last)
    keys = key_names((line.api_key_id for line in lines), account)
    return [
        {
            "day": line.day.isoformat(),
            "key": keys.get(line.api_key_id, "") if line.api_key_id is not None else "",
            "model": line.checkpoint,
            "kind": line.kind,
            "funding": line.funding,
            "calls": line.totals.calls,
            "images": line.totals.images,
            "pixels": line.totals.pixels,
            "price_micro": line.totals.price_micro,
        }
        for line in lines
    ]


def csv_of(rows: list[Row], columns: Sequence[str] = COLUMNS) -> str:
    """The same as text with a head, also where there are no lines."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns)
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _harmless(value: str | int) -> str | int:
    """Names are anybody's words: a spreadsheet must not run them."""
    is_formula = isinstance(value, str) and value.startswith(FORMULA_STARTS)
    return f"'{value}" if is_formula else value
