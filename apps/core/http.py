"""Outgoing HTTP to addresses that somebody else chose: the one safe way out of the appliance.

Addresses are checked below the connection pool (`http_connections`), where every hop of a redirect and every
library that uses our client passes. No proxy of the environment, no .netrc, no cookies, no compressed answers
(they unpack without bound), no credentials to another host. Knows nothing about what is fetched;
`fetch_policy` knows where it may come from.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpcore2
import httpx2

from apps.core.fetch_policy import FetchPolicy, FetchRefused
from apps.core.http_connections import PinnedBackend, Resolve, resolve_name

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 30.0
# Of an answer that is only passed through on the way to another: redirects and errors.
SIDE_ANSWER_BYTES: Final = 256 * 1024
USER_AGENT: Final = "darkroom"


class FetchFailed(Exception):
    """There was no usable answer: no connection, broken off, too slow. The message may be shown."""


class FetchTooLarge(Exception):
    """The answer is longer than the caller takes."""


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
        takes_any_encoding: bool,
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
        self._takes_any_encoding = takes_any_encoding

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
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if not self._takes_any_encoding and encoding not in ("", "identity"):
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

    def build_request(self, method: str, url: httpx2.URL | str, **options: Any) -> httpx2.Request:
        """As httpx does. Raises InvalidURL for characters that no address can hold, too."""
        # Any: httpx's own options.
        try:
            return super().build_request(method, url, **options)
        except UnicodeError:
            raise httpx2.InvalidURL("the address holds half of a character") from None

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
    takes_any_encoding: bool = False,
) -> SafeClient:
    """A client that goes only where `policy` lets it. Close it after use.

    `max_bytes` bounds every successful answer, None leaves that to the caller; `deadline` is a moment of
    `time.monotonic()`; `takes_any_encoding` is for callers who do not unpack. Requests raise FetchRefused,
    FetchTooLarge and httpx2.HTTPError.
    """
    transport = SafeTransport(
        policy,
        max_bytes=max_bytes,
        max_connections=max_connections,
        resolve=resolve,
        deadline=deadline,
        takes_any_encoding=takes_any_encoding,
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
