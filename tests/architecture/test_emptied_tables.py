"""What tests/emptied_tables.py leaves: nothing that a test wrote, and everything that guards a table."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError, connection

from apps.accounts.models import Account
from apps.audit.models import AuditEvent
from tests import emptied_tables
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def rows() -> int:
    """Of everything that a test may write."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT count(*) FROM {name}" for name in set(names) - emptied_tables.BELONG_TO_THE_SCHEMA
            )
        )
        return sum(count for [count] in cursor.fetchall())


def test_rows_go_and_permissions_stay(cast: Cast) -> None:
    permissions = Permission.objects.count()
    assert rows() > 10

    emptied_tables.empty_tables()

    assert rows() == 0
    assert Permission.objects.count() == permissions > 100


def test_what_refuses_to_be_deleted_refuses_it_again_afterwards(cast: Cast) -> None:
    assert AuditEvent.objects.exists()
    emptied_tables.empty_tables()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'")
        assert cursor.fetchone() == (0,)


def test_the_control_a_guarded_row_cannot_be_deleted(cast: Cast) -> None:
    with pytest.raises(IntegrityError, match="cannot be changed or deleted"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_auditevent")


def test_a_large_table_is_cut_off(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the dead rows of one test would be looked through by all that follow."""
    monkeypatch.setattr(emptied_tables, "LARGE_BYTES", 0)
    emptied_tables.empty_tables()
    assert rows() == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(%s)", [Account._meta.db_table])
        assert cursor.fetchone() == (0,)
