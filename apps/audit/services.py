"""Writing the audit log, sealing it into a hash chain, and proving that nobody rewrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from django.db import transaction

from apps.audit.models import AuditEvent, AuditLink
from apps.audit.refs import JsonValue, Ref
from apps.core.db import require_transaction, take_transaction_lock
from apps.core.logging import request_id

CHAIN_LOCK = "audit.chain"
GENESIS = "0" * 64
LABEL_LENGTH = 200
SEAL_BATCH = 10_000
# More events than can be written while a single transaction is still open.
LATECOMERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What `verify_chain` found."""

    sealed: int
    """Links whose hash was recomputed, up to the first wrong one."""
    unsealed: int
    """Events that wait for the next `seal_events`."""
    broken_at: int | None
    """Sequence number of the first link that does not fit; None when the chain is whole."""


def record(
    name: str,
    *,
    actor: Ref,
    subject: Ref,
    account_id: int | None = None,
    data: Mapping[str, JsonValue] | None = None,
    now: datetime,
) -> None:
    """Append one event within the caller's transaction: what is rolled back leaves no trace."""
    happened = Happened(subject=subject, account_id=account_id, data=data or {})
    record_together(name, [happened], actor=actor, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What differs between events of one name that one actor causes at once."""

    subject: Ref
    account_id: int | None
    data: Mapping[str, JsonValue]
    request_id: str = ""
    """Of the request that began what ends now; without one it is that of the work being done."""


def record_together(name: str, events: Sequence[Happened], *, actor: Ref, now: datetime) -> None:
    """`record` for several subjects, in one statement."""
    require_transaction()
    AuditEvent.objects.bulk_create(
        AuditEvent(
            at=now,
            name=name,
            actor_kind=actor.kind,
            actor_id=_id_text(actor),
            actor_label=actor.label[:LABEL_LENGTH],
            subject_kind=event.subject.kind,
            subject_id=_id_text(event.subject),
            subject_label=event.subject.label[:LABEL_LENGTH],
            account_id=event.account_id,
            request_id=event.request_id or request_id.get(),
            data=dict(event.data),
        )
        for event in events
    )


def _id_text(ref: Ref) -> str:
    return "" if ref.id is None else str(ref.id)


def seal_events(*, limit: int = SEAL_BATCH) -> int:
    """Link up to `limit` unsealed events, oldest first; returns how many.

    Safe to run twice at once: the second waits for the first. Events of transactions that commit
    later get later links, whatever their id.
    """
    with transaction.atomic(durable=True):
        take_transaction_lock(CHAIN_LOCK)
        head = AuditLink.objects.order_by("-seq").first()
        seq, previous = (head.seq, head.hash) if head else (0, GENESIS)
        links = []
        # Events far behind the head are sealed: looking only this far back keeps a long log quick to seal.
        recent = AuditEvent.objects.filter(pk__gt=head.event_id - LATECOMERS if head else 0)
        for event in recent.filter(link=None).order_by("pk")[:limit]:
            seq += 1
            previous = link_hash(previous, event)
            links.append(AuditLink(seq=seq, event=event, hash=previous))
        AuditLink.objects.bulk_create(links, batch_size=1000)
    return len(links)


def link_hash(previous: str, event: AuditEvent) -> str:
    """The hash that seals `event` behind the link whose hash is `previous`."""
    evidence = json.dumps(event.as_evidence(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(f"{previous}{evidence}".encode()).hexdigest()


def verify_chain() -> ChainReport:
    """Recompute every hash from the first link on. Reads all of the log; changes nothing."""
    previous = GENESIS
    sealed = 0
    broken_at = None
    for link in AuditLink.objects.select_related("event").order_by("seq").iterator(chunk_size=2000):
        if link.seq != sealed + 1 or link.hash != link_hash(previous, link.event):
            broken_at = sealed + 1
            break
        previous = link.hash
        sealed += 1
    return ChainReport(
        sealed=sealed, unsealed=AuditEvent.objects.filter(link=None).count(), broken_at=broken_at
    )
