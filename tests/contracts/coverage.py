"""What the recorded exchanges of a dialect leave out: endpoints without one, and codes of refusals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from apps.api.reference.routes import list_routes
from tests.contracts.recording import Exchange
from tests.contracts.replay import path_of

Endpoint = tuple[str, str]
"""Method and path, with its parameters in braces."""
PARAMETER: Final = re.compile(r"\\\{\w+\\\}")


def endpoints_below(*prefixes: str, but: Sequence[str] = ()) -> list[Endpoint]:
    """Every method of the paths that begin with one of the prefixes and with none of `but`."""
    return [
        (method.upper(), route.path)
        for route in list_routes()
        if route.path.startswith(prefixes) and not route.path.startswith(tuple(but))
        for method in route.methods
    ]


def unrecorded(endpoints: Iterable[Endpoint], exchanges: Sequence[Exchange]) -> list[str]:
    """Endpoints without an exchange that succeeds or without one that is refused, in words."""
    wanted = sorted(set(endpoints))
    shown = {(_endpoint_of(exchange, wanted), _is_refused(exchange)) for exchange in exchanges}
    return [
        f"{method} {path} has no exchange that {'is refused' if is_refused else 'succeeds'}"
        for method, path in wanted
        for is_refused in (False, True)
        if ((method, path), is_refused) not in shown
    ]


def _endpoint_of(exchange: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint | None:
    """The one that answered; of several that fit, that with the fewest parameters."""
    method, path = exchange.request["method"], path_of(exchange.request)
    fitting = [
        endpoint for endpoint in endpoints if endpoint[0] == method and _pattern(endpoint[1]).fullmatch(path)
    ]
    return min(fitting, key=lambda endpoint: endpoint[1].count("{"), default=None)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(PARAMETER.sub("[^/]+", re.escape(path)))


def _is_refused(exchange: Exchange) -> bool:
    return int(exchange.response.get("status", 0)) >= 400


def codes_shown(exchanges: Iterable[Exchange]) -> set[str]:
    """The codes that the recorded answers and events tell, theirs and ours."""
    found: set[str] = set()
    for exchange in exchanges:
        found |= set(_codes(exchange.response.get("body")))
        found.add(exchange.response.get("headers", {}).get("X-Darkroom-Error", ""))
    return found - {""}


def _codes(body: Any) -> Iterable[str]:
    if isinstance(body, list):
        for item in body:
            yield from _codes(item)
    if isinstance(body, dict):
        code = body.get("code")
        if isinstance(code, str):
            yield code
        for name in ("error", "data"):
            yield from _codes(body.get(name))
