"""Sends one request until it is answered: again where that is safe, with patience and jitter.

Safe is: what certainly did not arrive; what was refused for now (429); and, whatever happened, requests
that may be repeated: reading, deleting, and every POST with an Idempotency-Key, which stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Final

from darkroom.core import Broken, Call, Core, Open, Plan, Reply, Request, Sleep, Unsent
from darkroom.errors import DarkroomError, NotReachable, Refused, TimedOut, refusal

BUSY: Final = 429
LATE: Final = 408
UNAVAILABLE: Final = 503
TRANSIENT: Final = frozenset({LATE, 502, UNAVAILABLE, 504})


@dataclass(slots=True)
class Flight:
    """For whoever is interrupted in the middle of a plan: what the server may have got of it."""

    request: Request | None = None
    """None while it has certainly not been carried out: not sent yet, or refused."""


def send(core: Core, request: Request, *, flight: Flight | None = None) -> Plan[Reply]:
    """The answer below 300. Raises DarkroomError for any other, and NotReachable for none."""
    return _until_answered(core, request, Call(request), flight or Flight())


def open_stream(core: Core, request: Request) -> Plan[Reply]:
    """The head of the answer; `Read` then gives the rest. Raises as `send` does."""
    return _until_answered(core, request, Open(request), Flight())


def _until_answered(core: Core, request: Request, effect: Call | Open, flight: Flight) -> Plan[Reply]:
    may_have_arrived = False
    for attempt in count():
        retry_after_s = None
        flight.request = request
        try:
            reply: Reply = yield effect
        except Broken as fault:
            error: DarkroomError = unreachable(core, fault)
            is_safe = request.is_repeatable or isinstance(fault, Unsent)
            may_have_arrived |= not isinstance(fault, Unsent)
        else:
            if reply.status < 300:
                return reply
            error = refusal(reply.status, reply.headers, reply.body)
            retry_after_s = error.retry_after_s if isinstance(error, Refused) else None
            is_safe = reply.status == BUSY or (reply.status in TRANSIENT and request.is_repeatable)
            # A proxy may say so of something that goes on behind it. 503 is said before anything is done.
            may_have_arrived |= reply.status != UNAVAILABLE and (reply.status >= 500 or reply.status == LATE)
        flight.request = request if may_have_arrived else None
        if not is_safe or attempt >= core.max_retries or (retry_after_s or 0.0) > core.longest_wait_s:
            raise error
        yield Sleep(core.backoff_s(attempt, retry_after_s))
    raise AssertionError("count() does not end")


def unreachable(core: Core, fault: Broken) -> NotReachable:
    """What to tell a person of a connection that failed."""
    kind = TimedOut if fault.is_timeout else NotReachable
    return kind(f"{core.base_url} cannot be reached: {fault}")
