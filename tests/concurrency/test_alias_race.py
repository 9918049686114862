"""Twenty operators give twenty models the same alias at once. The control has the database's guard off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Barrier, Thread

import pytest
from django.db import connection

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.catalog.models import CatalogEntry, CatalogName
from apps.catalog.services import change_entry
from apps.core.errors import Conflict
from tests.factories import make_checkpoint

CALLERS = 20
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
GATE_S = 60

pytestmark = pytest.mark.django_db(transaction=True)


def _race(entries: list[CatalogEntry]) -> tuple[int, list[BaseException]]:
    """Each entry asks for the alias in a thread and on a connection of its own; winners, other faults."""
    gate = Barrier(CALLERS)
    won: list[bool] = []
    faults: list[BaseException] = []

    def caller(entry: CatalogEntry) -> None:
        try:
            connection.ensure_connection()
            gate.wait(GATE_S)
            change_entry(entry=entry, changes={"aliases": ["wanted", "also"]}, actor=SYSTEM, now=NOW)
            won.append(True)
        except Conflict:
            won.append(False)
        except BaseException as fault:  # noqa: BLE001  # a thread's failure must reach the test
            faults.append(fault)
        finally:
            connection.close()

    threads = [Thread(target=caller, args=[entry]) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(won), faults


def test_of_twenty_models_one_gets_the_alias() -> None:
    won, faults = _race([make_checkpoint(f"m-{number}") for number in range(CALLERS)])
    assert (won, faults) == (1, [])
    assert CatalogEntry.objects.filter(aliases=["wanted", "also"]).count() == 1
    assert CatalogName.objects.count() == CALLERS + 2
    assert AuditEvent.objects.filter(name="catalog.entry.changed").count() == 1


@contextmanager
def _guard_off() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE catalog_entry DISABLE TRIGGER catalog_entry_names")
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE catalog_entry ENABLE TRIGGER catalog_entry_names")


def test_control_without_the_guard_several_get_it() -> None:
    entries = [make_checkpoint(f"m-{number}") for number in range(CALLERS)]
    with _guard_off():
        won, faults = _race(entries)
    assert faults == []
    assert won > 1
