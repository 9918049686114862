from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction

from apps.audit.append_only import AppendOnly
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM, Ref
from apps.audit.services import record
from apps.core.db import NotInTransaction
from apps.core.logging import request_id
from tests.clocks import FrozenClock

SUBJECT = Ref(kind="account", id=7, label="ada")


def _record_one(clock: FrozenClock) -> AuditEvent:
    with transaction.atomic():
        record(
            "accounts.account.created",
            actor=SYSTEM,
            subject=SUBJECT,
            account_id=7,
            data={"n": 1},
            now=clock.now(),
        )
    return AuditEvent.objects.get()


def test_an_event_holds_names_as_text(db: None, clock: FrozenClock) -> None:
    token = request_id.set("req_abc")
    event = _record_one(clock)
    request_id.reset(token)
    assert event.as_evidence() == {
        "id": event.pk,
        "at": "2026-03-02T12:00:00+00:00",
        "name": "accounts.account.created",
        "actor": ["system", "", "darkroom"],
        "subject": ["account", "7", "ada"],
        "account_id": 7,
        "request_id": "req_abc",
        "data": {"n": 1},
    }


@pytest.mark.django_db(transaction=True)
def test_recording_outside_a_transaction_is_refused(clock: FrozenClock) -> None:
    with pytest.raises(NotInTransaction):
        record("a.b.c", actor=SYSTEM, subject=SUBJECT, now=clock.now())
    assert AuditEvent.objects.count() == 0


def test_what_is_rolled_back_leaves_no_trace(db: None, clock: FrozenClock) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record("a.b.c", actor=SYSTEM, subject=SUBJECT, now=clock.now())
        _ = 1 / 0
    assert AuditEvent.objects.count() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.save(),
        lambda event: event.delete(),
        lambda event: AuditEvent.objects.update(name="x.y.z"),
        lambda event: AuditEvent.objects.all().delete(),
        lambda event: AuditEvent.objects.filter(pk=event.pk).delete(),
    ],
)
def test_the_model_refuses_changes(
    db: None, clock: FrozenClock, change: Callable[[AuditEvent], object]
) -> None:
    event = _record_one(clock)
    with pytest.raises(AppendOnly):
        change(event)
    assert AuditEvent.objects.get().name == "accounts.account.created"


@pytest.mark.parametrize("sql", ["UPDATE audit_auditevent SET name = 'x'", "DELETE FROM audit_auditevent"])
def test_the_database_refuses_what_gets_past_the_model(db: None, clock: FrozenClock, sql: str) -> None:
    _record_one(clock)
    refusal = pytest.raises(IntegrityError, match="cannot be changed or deleted")
    with refusal, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert AuditEvent.objects.get().name == "accounts.account.created"
