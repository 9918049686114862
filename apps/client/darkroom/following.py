"""Follows what goes on at the server by its events, over as many connections as that takes.

A stream that ends before the end of the matter is nothing special: servers end them after ten minutes,
proxies sooner, and lines break. The next connection says which event was the last, and is told what is new
since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from darkroom.core import Broken, Core, Emit, Flow, Read, Request, Sleep
from darkroom.errors import WaitTimeout
from darkroom.sending import open_stream, unreachable
from darkroom.sse import EventParser, ServerEvent

E = TypeVar("E")

SILENCE_S: Final = 30.0
"""The server says something every five seconds; whatever is silent for so long is dead."""
WORTHWHILE_S: Final = 5.0
"""A connection that lasted so long was one."""
RECONNECT_S: Final = 2.0
"""Where the server names no other pause."""

ReadEvent = Callable[[ServerEvent, Mapping[str, Any]], E | None]


def follow(
    core: Core, path: str, read: ReadEvent[E], *, is_last: Callable[[E], bool], timeout_s: float | None
) -> Flow[E]:
    """Events until one that `is_last`. Raises WaitTimeout, and NotReachable after fruitless connections."""
    deadline = None if timeout_s is None else core.clock() + timeout_s
    parser = EventParser()
    fruitless = 0
    while True:
        _require_time(core, deadline, timeout_s)
        yield from open_stream(core, _request(core, path, parser.last_id, deadline))
        parser.begin()
        began, has_news, fault = core.clock(), False, None
        try:
            while chunk := (yield Read()):
                for event in _events(parser, chunk, read):
                    yield Emit(event)
                    if is_last(event):
                        return
                    has_news = True
                _require_time(core, deadline, timeout_s)
        except Broken as error:
            fault = error
        _require_time(core, deadline, timeout_s)
        # A line that breaks now and then while a job waits for hours is no reason to give up.
        is_fruitless = fault is not None and not has_news and core.clock() - began < WORTHWHILE_S
        fruitless = fruitless + 1 if is_fruitless else 0
        if fault is not None and fruitless > core.max_retries:
            raise unreachable(core, fault)
        yield Sleep(RECONNECT_S if parser.retry_ms is None else parser.retry_ms / 1000)


def _request(core: Core, path: str, last_id: str, deadline: float | None) -> Request:
    silence_s = SILENCE_S if deadline is None else max(0.05, min(SILENCE_S, deadline - core.clock()))
    headers = {"accept": "text/event-stream"} | ({"last-event-id": last_id} if last_id else {})
    return Request(method="GET", path=path, headers=headers, timeout_s=silence_s)


def _events(parser: EventParser, chunk: bytes, read: ReadEvent[E]) -> list[E]:
    """What cannot be read was cut, and is told again by the next connection."""
    found = []
    for event in parser.feed(chunk):
        try:
            data = json.loads(event.data)
        except ValueError:
            continue
        made = read(event, data) if isinstance(data, dict) else None
        if made is not None:
            found.append(made)
    return found


def _require_time(core: Core, deadline: float | None, timeout_s: float | None) -> None:
    if deadline is not None and core.clock() >= deadline:
        raise WaitTimeout(f"It had not ended after {timeout_s:g} s; it goes on.")
