"""Idempotency keys: concurrent twins make one job, and every repeat gets the same bytes.

A unique (account, key) decides the race. The first finished rendering of a response is stored, and
every caller, the one that rendered it included, answers with what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from django.db import connection

from apps.core.db import require_transaction
from apps.generation.errors import IdempotencyMismatch, InvalidIdempotencyKey
from apps.generation.models import GenerationJob, IdempotencyRecord

KEY_TTL = timedelta(hours=48)
# In one order, so that of two submits with the same keys the second waits for the first, and never both.
TAKE_SQL: Final = """
INSERT INTO generation_idempotencyrecord (account_id, key, fingerprint, response_content_type, created_at)
SELECT %(account)s, wanted.key, wanted.fingerprint, '', %(now)s
  FROM unnest(%(keys)s::text[], %(fingerprints)s::text[]) AS wanted (key, fingerprint)
    ON CONFLICT (account_id, key) DO NOTHING RETURNING id, key
"""
BIND_SQL: Final = """
UPDATE generation_idempotencyrecord AS record SET job_id = made.job_id
  FROM unnest(%s::bigint[], %s::bigint[]) AS made (id, job_id) WHERE record.id = made.id
"""
USABLE_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class IdempotencyClaim:
    """A caller's key together with what it was sent for."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What every caller with this key is answered."""

    status: int
    content_type: str
    body: bytes


def make_claim(*, key: str, method: str, path: str, body: bytes) -> IdempotencyClaim:
    """Raises InvalidIdempotencyKey for an unusable key."""
    if not USABLE_KEY.fullmatch(key):
        raise InvalidIdempotencyKey
    fingerprint = sha256(b"\0".join([method.encode(), path.encode(), body])).hexdigest()
    return IdempotencyClaim(key=key, fingerprint=fingerprint)


def find_record(*, account_id: int, claim: IdempotencyClaim) -> IdempotencyRecord | None:
    """The record of this key, or None if it is new. Raises IdempotencyMismatch for another request."""
    return find_records(account_id=account_id, claims=[claim])[0]


def find_records(*, account_id: int, claims: Sequence[IdempotencyClaim]) -> list[IdempotencyRecord | None]:
    """`find_record` for several, in their order; one query."""
    rows = IdempotencyRecord.objects.select_related("job").filter(
        account_id=account_id, key__in=[claim.key for claim in claims]
    )
    found = {record.key: record for record in rows}
    for claim in claims:
        if claim.key in found and found[claim.key].fingerprint != claim.fingerprint:
            raise IdempotencyMismatch(key=claim.key)
    return [found.get(claim.key) for claim in claims]


def take_key(*, account_id: int, claim: IdempotencyClaim, now: datetime) -> IdempotencyRecord | None:
    """Part: take the key for a job that this transaction creates; None when a twin has it.

    A twin that is still undecided makes this wait for its commit or rollback.
    """
    return take_keys(account_id=account_id, claims=[claim], now=now)[0]


def take_keys(
    *, account_id: int, claims: Sequence[IdempotencyClaim], now: datetime
) -> list[IdempotencyRecord | None]:
    """`take_key` for several, in their order; one statement, which takes them in the order of the keys."""
    require_transaction()
    if not claims:
        return []
    in_order = sorted(claims, key=lambda claim: claim.key)
    with connection.cursor() as cursor:
        cursor.execute(
            TAKE_SQL,
            {
                "account": account_id,
                "keys": [claim.key for claim in in_order],
                "fingerprints": [claim.fingerprint for claim in in_order],
                "now": now,
            },
        )
        taken = {key: pk for pk, key in cursor.fetchall()}
    return [
        IdempotencyRecord(
            pk=taken[claim.key],
            account_id=account_id,
            key=claim.key,
            fingerprint=claim.fingerprint,
            created_at=now,
        )
        if claim.key in taken
        else None
        for claim in claims
    ]


def bind_jobs(*, records: Sequence[IdempotencyRecord], jobs: Sequence[GenerationJob]) -> None:
    """Part: say which job each of the keys made."""
    require_transaction()
    if not records:
        return
    with connection.cursor() as cursor:
        cursor.execute(BIND_SQL, [[record.pk for record in records], [job.pk for job in jobs]])


def stored_response(record: IdempotencyRecord) -> StoredResponse | None:
    """What the record holds, or None while its response has not been rendered."""
    if record.response_status is None or record.response_body is None:
        return None
    return StoredResponse(
        status=record.response_status,
        content_type=record.response_content_type,
        body=bytes(record.response_body),
    )


def store_response(*, account_id: int, key: str, response: StoredResponse) -> StoredResponse:
    """Keep the first rendering and return it: the caller's own, or that of a faster twin."""
    taken = IdempotencyRecord.objects.filter(
        account_id=account_id, key=key, response_status__isnull=True
    ).update(
        response_status=response.status,
        response_content_type=response.content_type,
        response_body=response.body,
    )
    if taken:
        return response
    record = IdempotencyRecord.objects.filter(account_id=account_id, key=key).first()
    kept = stored_response(record) if record is not None else None
    return kept or response


def forget_old_keys(*, now: datetime) -> int:
    """Delete records older than 48 h; how many."""
    deleted, _ = IdempotencyRecord.objects.filter(created_at__lt=now - KEY_TTL).delete()
    return deleted
