"""After a test that commits, the tables that it wrote to are emptied; the others are left alone.

Django truncates all of them and then writes the permissions anew: half a second of a processor after each of
hundreds of tests, most of which leave a few rows in a dozen of a hundred tables.
"""

from __future__ import annotations

from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.test import TransactionTestCase

BELONG_TO_THE_SCHEMA: Final = frozenset({"django_content_type", "auth_permission"})
"""Their rows come with the migrations, and no test changes them."""

LARGE_BYTES: Final = 2 * 1024**2
"""Rows that are deleted go on to take their place until a vacuum: above it they are truncated."""

DELETE_FIRES: Final = 8
"""The bit of pg_trigger.tgtype that says so."""

GUARDED = """
SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger
 WHERE NOT tgisinternal AND tgtype & %s <> 0 AND tgrelid::regclass::text = ANY(%s)
"""


def empty_what_was_written(case: TransactionTestCase) -> None:
    """In place of `TransactionTestCase._fixture_teardown`."""
    empty_tables()


def empty_tables() -> None:
    """Deletes every row of every model, whatever triggers forbid that, but those that migrations wrote."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = sorted(set(names) - BELONG_TO_THE_SCHEMA)
    with transaction.atomic(), connection.cursor() as cursor:
        # Whoever writes at this moment, in a thread that the test left behind, is waited for.
        cursor.execute(f"LOCK TABLE {_listed(tables)} IN SHARE ROW EXCLUSIVE MODE")
        written = _written(cursor, tables)
        if any(written.values()):
            cursor.execute(f"TRUNCATE {_listed(tables)}")
        elif written:
            _delete(cursor, list(written))


def _written(cursor: CursorWrapper, tables: list[str]) -> dict[str, bool]:
    """Those that have rows, and whether they are large."""
    looks = (
        f"SELECT '{table}', pg_relation_size('{table}') > {LARGE_BYTES} WHERE EXISTS (SELECT FROM {table})"
        for table in tables
    )
    cursor.execute(" UNION ALL ".join(looks))
    return dict(cursor.fetchall())


def _delete(cursor: CursorWrapper, tables: list[str]) -> None:
    """In any order: references are checked once all rows are gone."""
    cursor.execute(GUARDED, [DELETE_FIRES, tables])
    guarded = [table for [table] in cursor.fetchall()]
    for table in guarded:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    for table in tables:
        cursor.execute(f"DELETE FROM {table}")
    # A table with checks that wait for the end cannot be altered.
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in guarded:
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def _listed(tables: list[str]) -> str:
    return ", ".join(tables)
