"""Faults on demand: what the next matching requests meet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from tests.fake_stripe.errors import Refusal

FaultKind = Literal["429", "500", "timeout_after_commit", "reset", "slow"]


@dataclass(slots=True, kw_only=True)
class Fault:
    kind: FaultKind
    """`429` and `500` refuse before anything happened; `reset` cuts the line before, and
    `timeout_after_commit` after the work was done; `slow` answers after `seconds`."""
    method: str = ""
    path: str = ""
    """How the path begins; empty: any."""
    times: int = 1
    seconds: float = 0.5


class ConnectionCut(Exception):
    """The server closes the connection without an answer."""


class Faults:
    def __init__(self) -> None:
        self.planned: list[Fault] = []

    def take(self, method: str, path: str) -> Fault | None:
        """The first planned fault that fits, used up once."""
        for fault in self.planned:
            if fault.times > 0 and fault.method in {"", method} and path.startswith(fault.path):
                fault.times -= 1
                return fault
        return None


def strike_before(fault: Fault | None) -> None:
    """Raises what the client meets instead of an answer; sleeps for `slow`."""
    match fault.kind if fault else None:
        case "429":
            raise Refusal(429, "Too many requests hit the API too quickly.", code="rate_limit")
        case "500":
            raise Refusal(500, "An unexpected error occurred.", kind="api_error")
        case "reset":
            raise ConnectionCut
        case "slow":
            time.sleep(fault.seconds if fault else 0)


def strike_after(fault: Fault | None) -> None:
    """The work is done, and nobody is told."""
    if fault is not None and fault.kind == "timeout_after_commit":
        raise ConnectionCut
