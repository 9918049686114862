"""Lists of the server, page by page, as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from darkroom.bodies import Body, decode
from darkroom.core import Core, Emit, Flow, QueryValue, Request, query_of
from darkroom.sending import send

B = TypeVar("B", bound=Body)

PAGE: Final = 100
"""The most that the server gives at once."""


def pages(
    core: Core, path: str, kind: type[B], *, limit: int | None, filters: Mapping[str, QueryValue]
) -> Flow[B]:
    """Items in the server's order, at most `limit`."""
    left = limit
    cursor: str | None = None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        query = query_of({**filters, "limit": size, "cursor": cursor})
        reply = yield from send(core, Request(method="GET", path=path, query=query))
        answer = reply.json()
        items = answer.get("items") or []
        for item in items[:size]:
            yield Emit(decode(kind, item))
        left = None if left is None else left - len(items)
        cursor = answer.get("next_cursor")
        if not cursor:
            return
