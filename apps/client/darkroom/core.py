"""What every call is made of, without any I/O: plans, and the effects that drivers carry out for them.

A plan is a generator. It yields effects (send this, wait so long), is sent what came of them, and returns the
result; a flow also yields `Emit`, one for each item of an iterator. Both clients run the same plans: the sync
one carries effects out at once, the async one awaits them. So no logic is written twice, and a test can play
the server by hand.
"""

from __future__ import annotations

import json
import platform
import random
import sys
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

from darkroom.errors import UnexpectedAnswer
from darkroom.version import VERSION

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JSON_TYPE: Final = "application/json"
USER_AGENT: Final = (
    f"darkroom-client/{VERSION} python/{platform.python_version()} {sys.platform}-{platform.machine()}"
)
QueryValue: TypeAlias = "str | int | float | bool | Sequence[str] | Mapping[str, Any] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """How to reach a server, and how patiently. Has no connection of its own."""

    base_url: str
    """Without a slash at the end."""
    api_key: str = field(repr=False)
    timeout_s: float = 60.0
    """For one answer, or for the next bytes of it."""
    connect_timeout_s: float = 10.0
    max_retries: int = 4
    """Of one request, after the first try."""
    longest_wait_s: float = 60.0
    """A server that asks for more patience than this is refused it: its refusal is raised."""
    draw: Callable[[], float] = random.random
    """From 0 to 1, for jitter."""
    clock: Callable[[], float] = time.monotonic
    new_key: Callable[[], str] = lambda: f"dkc-{uuid.uuid4().hex}"
    """Makes Idempotency-Keys."""

    def backoff_s(self, attempt: int, retry_after_s: float | None = None) -> float:
        """Before try `attempt` + 1: exponential with full jitter, never sooner than the server asks."""
        return (retry_after_s or 0.0) + self.draw() * min(8.0, 0.5 * 2.0**attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request, before it meets an address and a key."""

    method: str
    path: str
    """Begins with a slash."""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_repeatable: bool = True
    """Whether sending it twice is as good as once, when nobody knows whether it arrived."""
    is_signed: bool = True
    """Whether the API key goes along."""
    timeout_s: float | None = None
    """Instead of the core's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer; `body` is empty for streams."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""

    def json(self) -> dict[str, Any]:  # Any: JSON
        """The JSON object. Raises UnexpectedAnswer."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise UnexpectedAnswer(f"No Darkroom is at this address: {self.status} without a JSON object.")
        return value


class Broken(Exception):
    """The request was or may have been sent, and no whole answer came."""

    is_timeout = False


class Unsent(Broken):
    """The request has certainly not been read by the server."""


@dataclass(frozen=True, slots=True)
class Call:
    """Effect: send, and give the whole Reply. Raises Broken."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Effect: send, and give the Reply as soon as its head is there. Closes the stream before it, if any."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Effect: the next bytes of the open stream, b"" at its end. Raises Broken."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Effect: nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[T_co]):
    """Of flows: one item for whoever iterates."""

    item: T_co


Effect: TypeAlias = Call | Open | Read | Sleep
# Any: what an effect gives is known where it is yielded.
Plan: TypeAlias = Generator[Effect, Any, T]
Flow: TypeAlias = Generator[Effect | Emit[T], Any, None]


def gather(flow: Flow[T], take: Callable[[T], object]) -> Plan[None]:
    """Run a flow inside a plan; `take` gets the items."""
    advance: Callable[[], Effect | Emit[T]] = lambda: next(flow)  # noqa: E731  # replaced below
    while True:
        try:
            effect = advance()
        except StopIteration:
            return
        if isinstance(effect, Emit):
            take(effect.item)
            advance = flow.__next__
            continue
        try:
            result = yield effect
        except Broken as error:
            advance = _throwing(flow, error)
        else:
            advance = _sending(flow, result)


def _sending(flow: Flow[T], result: object) -> Callable[[], Effect | Emit[T]]:
    return lambda: flow.send(result)


def _throwing(flow: Flow[T], error: Broken) -> Callable[[], Effect | Emit[T]]:
    return lambda: flow.throw(error)


def query_of(values: Mapping[str, QueryValue]) -> tuple[tuple[str, str], ...]:
    """A query string's pairs: None is left out, lists are written with commas."""
    return tuple((name, _text(value)) for name, value in values.items() if value is not None)


def _text(value: QueryValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(value)
    return str(value)


def json_request(
    method: str, path: str, value: Mapping[str, Any], *, key: str = "", is_repeatable: bool | None = None
) -> Request:
    """A request with a JSON body. With an Idempotency-Key it may be repeated."""
    headers = {"content-type": JSON_TYPE} | ({"idempotency-key": key} if key else {})
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    repeatable = bool(key) if is_repeatable is None else is_repeatable
    return Request(method=method, path=path, headers=headers, body=body, is_repeatable=repeatable)
