"""Outgoing HTTP to addresses that somebody else chose: the one safe way out of the appliance.

A name is resolved once for each connection, and the connection goes to the very address that was checked,
so that a name cannot point elsewhere between the check and the use. The check sits below the connection
pool, where every hop of a redirect and every library that uses our client passes. No proxy of the
environment, no .netrc, no cookies, no compressed answers (they unpack without bound), no credentials to
another host. Knows nothing about what is fetched; `fetch_policy` knows where it may come from.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, TypeAlias
from weakref import WeakSet

import httpcore2
import httpx2

from apps.core.fetch_policy import FetchPolicy, FetchRefused

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 30.0
# Of an answer that is only passed through on the way to another: redirects and errors.
SIDE_ANSWER_BYTES: Final = 256 * 1024
USER_AGENT: Final = "darkroom"


class FetchFailed(Exception):
    """There was no usable answer: no connection, broken off, too slow. The message may be shown."""


class FetchTooLarge(Exception):
    """The answer is longer than the caller takes."""


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
        try:
            addresses = self._policy.choose(host, port, self._resolve(host, port))
        except OSError:
            raise httpcore2.ConnectError(f"the name {host} is unknown") from None
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


class SafeTransport(httpx2.HTTPTransport):
    """httpx's transport on top of our backend; checks each request and bounds each answer."""

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        max_bytes: int | None,
        max_connections: int,
        resolve: Resolve,
        deadline: float | None,
    ) -> None:
        super().__init__(verify=_ssl_context(), trust_env=False)
        self._backend = PinnedBackend(policy, resolve=resolve, deadline=deadline)
        # The one thing httpx has no parameter for. The pool that it made has opened nothing yet.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=_ssl_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=15.0,
            network_backend=self._backend,
        )
        self._policy = policy
        self._max_bytes = max_bytes

    def abort(self) -> None:
        """See PinnedBackend."""
        self._backend.abort()

    def _check(self, url: httpx2.URL) -> None:
        self._policy.check_url(scheme=url.scheme, host=url.host, has_password=bool(url.userinfo))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self._check(request.url)
        request.headers["Accept-Encoding"] = "identity"
        request.headers["User-Agent"] = USER_AGENT
        response = super().handle_request(request)
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            response.close()
            raise httpx2.RemoteProtocolError("the server compresses although it was asked not to")
        limit = self._max_bytes if response.is_success else SIDE_ANSWER_BYTES
        if limit is not None:
            assert isinstance(response.stream, httpx2.SyncByteStream)  # a synchronous transport's answer
            response.stream = CappedStream(response.stream, limit)
        return response


@cache
def _ssl_context() -> ssl.SSLContext:
    """Shared, because reading the certificates takes tens of milliseconds."""
    return httpx2.create_ssl_context(trust_env=False)


class CappedStream(httpx2.SyncByteStream):
    """Ends an answer that grows too long, whatever length it announced."""

    def __init__(self, stream: httpx2.SyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[bytes]:
        taken = 0
        for chunk in self._stream:
            taken += len(chunk)
            if taken > self._max_bytes:
                raise FetchTooLarge(f"The answer is longer than {self._max_bytes} bytes.")
            yield chunk

    def close(self) -> None:
        self._stream.close()


class SafeClient(httpx2.Client):
    """What `open_client` returns."""

    def __init__(self, transport: SafeTransport, *, max_redirects: int) -> None:
        super().__init__(
            transport=transport,
            trust_env=False,
            follow_redirects=True,
            max_redirects=max_redirects,
            timeout=httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=None),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            event_hooks={"response": [_refuse_downgrade]},
        )
        self._safe_transport = transport

    def abort(self) -> None:
        """From any thread: break off whatever is under way. The client is of no use afterwards."""
        self._safe_transport.abort()


def open_client(
    policy: FetchPolicy,
    *,
    max_bytes: int | None,
    max_connections: int = 10,
    resolve: Resolve = resolve_name,
    deadline: float | None = None,
) -> SafeClient:
    """A client that goes only where `policy` lets it. Close it after use.

    `max_bytes` bounds every successful answer, None leaves that to the caller; `deadline` is a moment of
    `time.monotonic()`. Requests raise FetchRefused, FetchTooLarge and httpx2.HTTPError.
    """
    transport = SafeTransport(
        policy, max_bytes=max_bytes, max_connections=max_connections, resolve=resolve, deadline=deadline
    )
    return SafeClient(transport, max_redirects=policy.max_redirects)


def _refuse_downgrade(response: httpx2.Response) -> None:
    """From encrypted to plain is no way to go: what comes then is anybody's."""
    if response.has_redirect_location and response.request.url.scheme == "https":
        target = response.request.url.join(response.headers["Location"])
        if target.scheme == "http":
            raise FetchRefused(f"{response.request.url.host} redirects from https to http.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A whole answer."""

    url: str
    """After redirects."""
    content: bytes
    content_type: str
    """As the server says, in lower case, without parameters; "" when it does not say."""


def fetch(
    url: str,
    *,
    policy: FetchPolicy,
    max_bytes: int,
    total_s: float,
    headers: Mapping[str, str] | None = None,
    resolve: Resolve = resolve_name,
) -> Fetched:
    """The content of `url`, all of it within `total_s`. Raises FetchRefused, FetchFailed, FetchTooLarge."""
    deadline = time.monotonic() + total_s
    client = open_client(policy, max_bytes=max_bytes, max_connections=1, resolve=resolve, deadline=deadline)
    with client:
        try:
            response = client.get(url, headers=dict(headers or {}))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpcore2.ReadTimeout) as error:
            raise FetchFailed(describe_failure(error)) from error
    if not response.is_success:
        raise FetchFailed(f"{response.url.host} answered {response.status_code}.")
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    return Fetched(url=str(response.url), content=response.content, content_type=kind)


def describe_failure(error: Exception) -> str:
    """A sentence about what went wrong on the way; never with the path or query, which may hold secrets."""
    match error:
        case httpx2.TooManyRedirects():
            return "It was redirected too often."
        case httpx2.TimeoutException() | httpcore2.TimeoutException():
            return "The server did not answer in time."
        case httpx2.ConnectError():
            return f"The server could not be reached: {error}."
        case httpx2.InvalidURL():
            return "The address cannot be read."
        case _:
            return f"The connection broke: {str(error) or type(error).__name__}."
