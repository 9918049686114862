from __future__ import annotations

from django.db import connection, transaction

from apps.audit.models import AuditEvent, AuditLink
from apps.audit.refs import SYSTEM, Ref
from apps.audit.services import GENESIS, ChainReport, link_hash, record, seal_events, verify_chain
from tests.clocks import FrozenClock


def _record(count: int, clock: FrozenClock) -> None:
    with transaction.atomic():
        for number in range(count):
            subject = Ref(kind="job", id=number, label=f"job {number}")
            record("a.b.c", actor=SYSTEM, subject=subject, data={"ü": number}, now=clock.now())


def test_sealing_links_every_event_once(db: None, clock: FrozenClock) -> None:
    _record(5, clock)
    assert seal_events(limit=3) == 3
    assert verify_chain() == ChainReport(sealed=3, unsealed=2, broken_at=None)
    assert seal_events(limit=3) == 2
    assert seal_events() == 0
    assert verify_chain() == ChainReport(sealed=5, unsealed=0, broken_at=None)
    assert list(AuditLink.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3, 4, 5]
    first = AuditLink.objects.get(seq=1)
    assert first.hash == link_hash(GENESIS, first.event)


def test_the_chain_of_an_empty_log_is_whole(db: None) -> None:
    assert seal_events() == 0
    assert verify_chain() == ChainReport(sealed=0, unsealed=0, broken_at=None)


def test_an_event_that_commits_late_is_sealed_later(db: None, clock: FrozenClock) -> None:
    _record(2, clock)
    late, early = AuditEvent.objects.order_by("-pk")[:2][::-1]
    AuditLink.objects.create(seq=1, event=early, hash=link_hash(GENESIS, early))
    assert seal_events() == 1
    assert AuditLink.objects.get(seq=2).event == late
    assert verify_chain().broken_at is None


def test_a_rewritten_event_breaks_the_chain_where_it_stands(db: None, clock: FrozenClock) -> None:
    _record(4, clock)
    seal_events()
    second = AuditLink.objects.get(seq=2).event_id
    _past_the_triggers(f"UPDATE audit_auditevent SET actor_label = 'nobody' WHERE id = {second}")
    assert verify_chain() == ChainReport(sealed=1, unsealed=0, broken_at=2)


def test_a_removed_link_breaks_the_chain(db: None, clock: FrozenClock) -> None:
    _record(4, clock)
    seal_events()
    _past_the_triggers("DELETE FROM audit_auditlink WHERE seq = 3")
    assert verify_chain() == ChainReport(sealed=2, unsealed=1, broken_at=3)


def _past_the_triggers(sql: str) -> None:
    """What somebody who owns the database could do."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("audit_auditevent", "audit_auditlink"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER refuse_change")
        cursor.execute(sql)
        for table in ("audit_auditevent", "audit_auditlink"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER refuse_change")
