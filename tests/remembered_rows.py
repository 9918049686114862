"""Rows that many tests begin with, written once by the services and from then on by one statement.

What the services write for the cast costs fifty statements and a third of the time of a short test. Their
rows are kept as PostgreSQL tells them, and put back with the very ids; nothing of a test stays in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.apps import apps
from django.db import connection

T = TypeVar("T")

COLUMNS = """
SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
  FROM information_schema.columns
 WHERE table_schema = current_schema() AND table_name = %s AND is_generated = 'NEVER'
"""


@dataclass(frozen=True, slots=True)
class Remembered(Generic[T]):
    """What was made, and the statement that writes its rows again."""

    made: T
    statement: str

    def put_back(self) -> T:
        """Writes the rows; returns objects of the test's own."""
        with connection.cursor() as cursor:
            cursor.execute(self.statement)
        return copy.deepcopy(self.made)


def remember(make: Callable[[], T]) -> tuple[T, Remembered[T] | None]:
    """What `make` made, for the test at hand, and how to have it again.

    None if it wrote to a table that was not empty before: then nobody can tell whose rows are whose.
    """
    before = _counts()
    made = make()
    after = _counts()
    # In the order of INSTALLED_APPS, whose references go to earlier ones; foreign keys are checked at the end
    # of the transaction in any case.
    changed = [table for table in after if after[table] != before[table]]
    if any(before[table] for table in changed):
        return made, None
    return made, Remembered(copy.deepcopy(made), "; ".join(_insert_of(table) for table in changed))


def _counts() -> dict[str, int]:
    """Rows of every table."""
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in tables))
        counts = dict(cursor.fetchall())
    return {table: counts[table] for table in tables}


def _insert_of(table: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS, [table])
        [[columns]] = cursor.fetchall()
        cursor.execute(f"SELECT quote_literal(json_agg(kept)::text) FROM {table} AS kept")
        [[rows]] = cursor.fetchall()
    source = f"json_populate_recordset(NULL::{table}, {rows})"
    return f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {source}"
