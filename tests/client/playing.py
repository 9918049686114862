"""Plays the server to a plan by hand: no socket, no clock, every effect on record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from darkroom.core import Broken, Call, Core, Emit, Flow, Open, Plan, Read, Reply, Request, Sleep, Unsent
from darkroom.drivers import Driver

T = TypeVar("T")
CUT = Broken("the connection was cut")
NEVER_LEFT = Unsent("connection refused")


@dataclass
class Player:
    """Answers of a server in order: a Reply, a fault, or for streams the chunks behind their Reply."""

    answers: list[Any]
    requests: list[Request] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    now: float = 0.0
    """Moves on while a plan sleeps, and by `silence_s` with every read of a stream."""
    silence_s: float = 0.0

    def core(self, **options: Any) -> Core:
        """One without chance: half of every jitter, keys that count up."""
        numbers = iter(range(1, 1000))
        return Core(
            base_url="http://box",
            api_key="dkr_test",
            **{
                "draw": lambda: 0.5,
                "clock": lambda: self.now,
                "new_key": lambda: f"key-{next(numbers)}",
                **options,
            },
        )

    def run(self, plan: Plan[T] | Flow[Any], *, most: int | None = None) -> T:
        """The plan's result; of a flow, whose items are then in `items`, at most so many."""
        driver = Driver(plan)
        while most is None or len(self.items) < most:
            try:
                effect = driver.step()
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(effect, Emit):
                self.items.append(effect.item)
                continue
            try:
                driver.give(self._perform(effect))
            except Broken as fault:
                driver.fail(fault)
        return None  # type: ignore[return-value]  # a flow has no result

    def _perform(self, effect: Any) -> object:
        match effect:
            case Sleep(seconds):
                self.sleeps.append(seconds)
                self.now += seconds
                return None
            case Call(request) | Open(request):
                self.requests.append(request)
            case Read():
                self.now += self.silence_s
        answer = self.answers.pop(0)
        if isinstance(answer, Broken):
            raise answer
        return answer


def ok(value: object, status: int = 200) -> Reply:
    return Reply(status=status, headers={}, body=json.dumps(value).encode())


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Reply:
    """problem+json; `retry_after` is a header."""
    retry_after = more.pop("retry_after", None)
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    body = {"status": status, "code": code, "detail": detail, "request_id": "req_1", **more}
    return Reply(status=status, headers=headers, body=json.dumps(body).encode())


def sse(*events: tuple[str, str, object]) -> bytes:
    """Events of name, id and data."""
    return b"".join(
        f"event: {name}\nid: {mark}\ndata: {json.dumps(data)}\n\n".encode() for name, mark, data in events
    )


def sent(requests: Iterable[Request]) -> list[str]:
    """Methods and paths."""
    return [f"{request.method} {request.path}" for request in requests]
