"""A connection of its own for LISTEN and for session locks.

Django closes its connections between requests and tasks; a session lock and a subscription must
outlive them. One thread uses a Listener at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import psycopg
from django.db import connections
from psycopg import sql

from apps.core.db import lock_key

# Notices a dead server or network within about half a minute even when nothing is sent.
KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class ListenerLost(Exception):
    """The connection broke or could not be made; locks and subscriptions are gone."""


class Listener:
    """Subscribes to `channels` when entered. Every method raises ListenerLost once the connection is gone."""

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = channels
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Open the connection and subscribe."""
        parameters = dict(connections["default"].get_connection_params())
        for django_only in ("pool", "cursor_factory", "context", "prepare_threshold"):
            parameters.pop(django_only, None)
        try:
            self._connection = psycopg.connect(**parameters, **KEEPALIVE, autocommit=True)
            for channel in self._channels:
                self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except psycopg.Error as error:
            raise ListenerLost(str(error).strip()) from error

    def close(self) -> None:
        """Drop the connection, its subscriptions and its locks."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def wait(self, timeout_s: float) -> list[str]:
        """Payloads that arrived: at once if there are any, else after the first or after `timeout_s`."""
        try:
            found = self._open().notifies(timeout=timeout_s, stop_after=1)
            return [message.payload for message in found]
        except psycopg.Error as error:
            raise ListenerLost(str(error).strip()) from error

    def try_lock(self, name: str) -> bool:
        """Take an advisory lock for as long as the connection lives; False when another session has it."""
        try:
            row = self._open().execute("SELECT pg_try_advisory_lock(%s)", [lock_key(name)]).fetchone()
        except psycopg.Error as error:
            raise ListenerLost(str(error).strip()) from error
        return row is not None and bool(row[0])

    def unlock(self, name: str) -> None:
        """Give back a lock that `try_lock` took."""
        try:
            self._open().execute("SELECT pg_advisory_unlock(%s)", [lock_key(name)])
        except psycopg.Error as error:
            raise ListenerLost(str(error).strip()) from error

    def _open(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None:
            raise ListenerLost("not connected")
        return self._connection
