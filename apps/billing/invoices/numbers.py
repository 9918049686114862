"""Numbers without gaps: one is taken in the transaction that uses it, and given back if that fails."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from apps.billing.invoices.choices import PREFIXES, DocumentKind
from apps.core.db import require_transaction

# The row stays locked until the transaction ends: the next taker waits to see whether this number is used.
TAKE = """
INSERT INTO billing_invoiceseries AS series (prefix, year, last_number) VALUES (%s, %s, 1)
    ON CONFLICT (prefix, year) DO UPDATE SET last_number = series.last_number + 1
RETURNING last_number
"""


def take_number(kind: DocumentKind, *, now: datetime) -> str:
    """The next number of the series of this kind and year (UTC), such as INV-2026-000123; a part.

    Take it last: everybody else who issues waits until the transaction ends.
    """
    require_transaction()
    prefix, year = PREFIXES[kind], now.year
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [prefix, year])
        [(number,)] = cursor.fetchall()
    return f"{prefix}-{year}-{number:06d}"
