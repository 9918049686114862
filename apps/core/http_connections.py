"""Connections to checked addresses alone: below the pool of `http`, where every request passes.

A name is resolved once for each connection, and the connection goes to the very address that was checked,
so that a name cannot point elsewhere between the check and the use. Knows nothing about HTTP.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias
from weakref import WeakSet

import httpcore2

from apps.core.fetch_policy import FetchPolicy

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]


def resolve_name(host: str, port: int) -> list[str]:
    """Addresses of a name, in the resolver's order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class PinnedBackend(httpcore2.NetworkBackend):
    """Opens connections to checked addresses alone. TLS still verifies the name, which the pool knows."""

    def __init__(self, policy: FetchPolicy, *, resolve: Resolve, deadline: float | None) -> None:
        self._policy = policy
        self._resolve = resolve
        self._deadline = deadline
        self._sockets = httpcore2.SyncBackend()
        self._open: WeakSet[WatchedStream] = WeakSet()
        self._is_aborted = False

    def abort(self) -> None:
        """Break every connection now: whoever waits in a read gets an error. No new one is made."""
        self._is_aborted = True
        for stream in list(self._open):
            stream.abort()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,  # Any: httpcore's own union of tuples
    ) -> httpcore2.NetworkStream:
        self._policy.check_port(port)
        addresses = self._policy.choose(host, port, self._look_up(host, port, timeout))
        problem: Exception = httpcore2.ConnectError("the fetch was stopped")
        for address in addresses:
            if self._is_aborted:
                break
            try:
                stream = self._sockets.connect_tcp(
                    str(address), port, _left(timeout, self._deadline), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
            else:
                return WatchedStream(stream, self._deadline, self._open)
        raise problem

    def _look_up(self, host: str, port: int, timeout: float | None) -> Sequence[str]:
        """Addresses of a name, in time: how long its servers take is up to whoever chose the name."""
        found: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                found.put(self._resolve(host, port))
            except Exception as error:  # noqa: BLE001 - of a thread; raised where it is waited for
                found.put(error)

        # The system's resolver cannot be told to stop. It gives up by itself, later, with nobody waiting.
        Thread(target=ask, daemon=True, name="resolve").start()
        try:
            answer = found.get(timeout=_left(timeout, self._deadline))
        except Empty:
            raise httpcore2.ConnectTimeout(f"the name {host} was not resolved in time") from None
        # UnicodeError: a label of no or of too many letters is found out while the name is encoded.
        if isinstance(answer, OSError | UnicodeError):
            raise httpcore2.ConnectError(f"the name {host} is unknown")
        if isinstance(answer, Exception):
            raise answer
        return answer


class WatchedStream(httpcore2.NetworkStream):
    """A stream that ends at a moment, however slowly the other side drips, or when somebody says so."""

    def __init__(
        self, stream: httpcore2.NetworkStream, deadline: float | None, registry: WeakSet[WatchedStream]
    ) -> None:
        self._stream = stream
        self._deadline = deadline
        self._registry = registry
        registry.add(self)

    def abort(self) -> None:
        """Wake a read in another thread. Below TLS: its layer is not made to be closed from outside."""
        tcp = self._stream.get_extra_info("socket")
        with suppress(OSError):
            socket.socket.shutdown(tcp, socket.SHUT_RDWR)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, _left(timeout, self._deadline))
        return WatchedStream(inner, self._deadline, self._registry)

    def get_extra_info(self, info: str) -> Any:  # Any: httpcore's own type
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, deadline: float | None) -> float | None:
    """The shorter of a timeout and the time until `deadline`. Raises ReadTimeout when that has passed."""
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the time allowed for it is over")
    return left if timeout is None else min(timeout, left)
