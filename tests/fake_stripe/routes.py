"""One row an endpoint: its address, what serves it, and which of Stripe's parameters it understands.

A parameter outside `accepts` is refused: either Stripe does not know it, or this fake would ignore it,
and a test that passes because something was ignored proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fake_stripe.errors import Refusal, invalid
from tests.fake_stripe.params import Params


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    """With `{id}` for each id, given to the handler in order."""
    handler: Callable[..., dict[str, Any]]
    params_type: str
    """Class of `stripe.params`, dotted for its sub-packages: the test holds `accepts` against it."""
    accepts: str = ""
    """Dotted names; `metadata.*` admits every name below."""
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pattern = re.compile("^" + self.path.replace("{id}", "([^/]+)") + "$")
        object.__setattr__(self, "pattern", pattern)

    def accepted(self) -> set[str]:
        """With `expand`, which every request takes but those that delete."""
        return {*self.accepts.split(), *(() if self.method == "DELETE" else ("expand",))}

    def require_known(self, params: Params) -> None:
        accepted = self.accepted()
        for name in params.flat():
            parents = {name[:at] + ".*" for at, letter in enumerate(name) if letter == "."} | {name + ".*"}
            if name not in accepted and not parents & accepted:
                raise invalid(
                    f"Received unknown parameter: {name} (the fake's {self.method} {self.path} does"
                    " not know it)",
                    param=name,
                    code="parameter_unknown",
                )


def find_route(routes: list[Route], method: str, path: str) -> tuple[Route, list[str]]:
    for route in routes:
        match = route.pattern.match(path)
        if match and route.method == method:
            return route, list(match.groups())
    raise Refusal(404, f"Unrecognized request URL ({method}: {path}).")
