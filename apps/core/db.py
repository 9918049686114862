"""Database facilities that Django does not have: NOTIFY, advisory locks, and guards for services."""

from __future__ import annotations

import hashlib

from django.db import connection


class NotInTransaction(RuntimeError):
    """A part of an act was called on its own."""


def require_transaction() -> None:
    """First line of a service part: it may run only inside somebody's transaction."""
    if not connection.in_atomic_block:
        raise NotInTransaction("this must run inside transaction.atomic()")


def notify(channel: str, payload: str) -> None:
    """Wake listeners of `channel` when the current transaction commits; at once outside of one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


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
