"""Limits on attempts at entries that allauth leaves open, counted as its own: for all web processes at once.

What is behind them cannot be guessed. They keep a stranger from making this server check signatures, ask
providers or search the database as often as they like.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, Literal, ParamSpec

from allauth.core.internal.ratelimit import consume, respond_429
from django.http import HttpRequest
from django.http.response import HttpResponseBase

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
Entry = Literal["provider", "confirm_link", "invitation_link"]

RATES: Final[dict[Entry, str]] = {
    # A whole office may come through one address when its day begins; each of them asks four times.
    "provider": "240/m/ip",
    "confirm_link": "30/m/ip",
    "invitation_link": "30/m/ip",
}
"""Attempts a minute from one address, as `DARKROOM_PROXY_COUNT` tells addresses."""


def limited(entry: Entry) -> Callable[[View[P]], View[P]]:
    """A view that answers 429 beyond the rate of its `entry`, whatever the method."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def counted(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            rates = {entry: RATES[entry]}
            if not consume(request, app="apps.accounts", action=entry, config=rates, limit_get=True):
                answer: HttpResponseBase = respond_429(request)
                return answer
            return view(request, *args, **kwargs)

        return counted

    return decorate
