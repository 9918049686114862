"""Bodies without a Content-Length reach the application whole, and no further than the cap."""

from __future__ import annotations

import io
from typing import Any

import pytest

from apps.core.chunked import ChunkedBodyMiddleware


def received(environ: dict[str, Any]) -> tuple[str | None, bytes]:
    """What an application behind the middleware sees: stated length and body."""
    seen: list[tuple[str | None, bytes]] = []

    def application(inner: dict[str, Any], start_response: Any) -> list[bytes]:
        length = inner.get("CONTENT_LENGTH")
        seen.append((length, inner["wsgi.input"].read(int(length)) if length else b""))
        return []

    list(ChunkedBodyMiddleware(application)(environ, lambda *_: lambda _: None))
    return seen[0]


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_500_000])
def test_chunked_bodies_get_their_length(size: int) -> None:
    body = b"x" * size

    length, read = received({"HTTP_TRANSFER_ENCODING": "Chunked", "wsgi.input": io.BytesIO(body)})

    assert (length, read) == (str(size), body)


def test_bodies_with_a_length_are_left_alone() -> None:
    environ = {
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "2",
        "wsgi.input": io.BytesIO(b"abc"),
    }

    assert received(environ) == ("2", b"ab")


def test_requests_without_a_body_are_left_alone() -> None:
    assert received({"wsgi.input": io.BytesIO(b"not for us")}) == (None, b"")


def test_bodies_above_the_cap_are_cut_where_the_size_check_still_sees_it(settings: Any) -> None:
    settings.MAX_BODY_BYTES = 100_000
    endless = io.BytesIO(b"x" * 10_000_000)

    length, _ = received({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": endless})

    assert length is not None
    assert 100_000 < int(length) <= 100_000 + 64 * 1024
    assert endless.tell() == int(length)
