"""Sending something to an address that somebody else chose, by the same rules as fetching; see `http`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore2
import httpx2

from apps.core.fetch_policy import FetchPolicy
from apps.core.http import FetchFailed, describe_failure, open_client
from apps.core.http_connections import Resolve, resolve_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    head: bytes
    """How the body begins, as it came: no more of it was read."""


def post(
    url: str,
    *,
    content: bytes,
    headers: Mapping[str, str],
    policy: FetchPolicy,
    max_bytes: int,
    total_s: float,
    resolve: Resolve = resolve_name,
) -> Answer:
    """Send `content` once, without following redirects; `total_s` bounds everything from the connection on.

    At most `max_bytes` of the answer are kept. Raises FetchRefused and FetchFailed. A body that breaks off
    behind its status is no failure: the status has been said.
    """
    deadline = time.monotonic() + total_s
    client = open_client(
        policy, max_bytes=None, max_connections=1, resolve=resolve, deadline=deadline, takes_any_encoding=True
    )
    with client:
        try:
            request = client.build_request("POST", url, content=content, headers=dict(headers))
            response = client.send(request, stream=True, follow_redirects=False)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpcore2.ReadTimeout) as error:
            raise FetchFailed(describe_failure(error)) from error
        try:
            head = _read_head(response, max_bytes)
        finally:
            response.close()
    names = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=names, head=head)


def _read_head(response: httpx2.Response, max_bytes: int) -> bytes:
    head = b""
    try:
        for chunk in response.iter_raw():
            head += chunk
            if len(head) >= max_bytes:
                break
    except (httpx2.HTTPError, httpcore2.ReadTimeout):
        # Dripping or broken; what matters has arrived.
        return head[:max_bytes]
    return head[:max_bytes]
