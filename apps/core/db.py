"""Database facilities that Django does not have: NOTIFY, advisory locks, and guards for services."""

from __future__ import annotations

import hashlib

from django.db import connection, transaction


class NotInTransaction(RuntimeError):
    """A part of an act was called on its own."""


def require_transaction() -> None:
    """First line of a service part: it may run only inside somebody's transaction."""
    if not connection.in_atomic_block:
        raise NotInTransaction("this must run inside transaction.atomic()")


def notify(channel: str, *payloads: str) -> None:
    """Wake listeners of `channel` once the current transaction has committed; at once outside of one.

    After the commit and not in it: PostgreSQL lets notifying transactions commit only one at a time,
    each waiting for the disk alone, while a message on its own writes nothing to disk. A crash in
    between loses the message, which is a hint: whoever listens must also look from time to time.
    """
    if payloads:
        transaction.on_commit(lambda: _send(channel, payloads), robust=True)


def _send(channel: str, payloads: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", [channel, list(payloads)]
        )


def lock_key(name: str) -> int:
    """A stable signed 64-bit key for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def try_session_lock(name: str) -> bool:
    """Take an advisory lock that lives as long as this connection; False when another session has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [lock_key(name)])
        row = cursor.fetchone()
    return bool(row[0])


def release_session_lock(name: str) -> None:
    """Give a session lock back before the connection ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [lock_key(name)])


def take_transaction_lock(name: str) -> None:
    """Wait for an advisory lock that ends with the current transaction."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key(name)])
