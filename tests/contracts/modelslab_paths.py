"""Which recorded exchange stands for which path of the ModelsLab dialect.

A path has an exchange of its own, or leads to the very endpoint of one that has: the same view with the same
arguments, where it makes something the same fields, translation and shape of the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from django.urls import ResolverMatch, resolve

from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.translation.asked import Endpoint
from apps.api.modelslab.urls import urlpatterns
from tests.contracts.recording import Exchange, list_exchanges

BASE: Final = "api/"
ANY_ID: Final = "1"
FETCH: Final = "/fetch/"


def routes() -> Mapping[str, Any]:
    """Every pattern of the dialect, as Django writes it -> the endpoint behind it."""
    return {BASE + str(pattern.pattern): _endpoint_of(pattern.callback) for pattern in urlpatterns}


def place_of(path: str) -> ResolverMatch:
    """Where a path leads."""
    return resolve(path.partition("?")[0].replace("<id text>", ANY_ID))


def endpoint_at(match: ResolverMatch) -> Any:
    """What answers there, apart from the path by which it was reached: comparable, not hashable."""
    return _endpoint_of(match.func)


def _endpoint_of(view: Any) -> Any:
    """View and arguments. Any: the attributes are Django's own, which its stubs leave out."""
    arguments = dict(view.view_initkwargs)
    if isinstance(arguments.get("endpoint"), Endpoint):
        arguments["endpoint"] = replace(arguments["endpoint"], family="", is_enterprise=False)
    return view.view_class, arguments


def _first_exchanges() -> Mapping[str, Exchange]:
    """For each path that makes something and has exchanges of its own, the first that was accepted."""
    found: dict[str, Exchange] = {}
    for exchange in list_exchanges():
        path = exchange.request["path"].removeprefix(f"/{BASE}")
        is_accepted = exchange.response.get("status") == 200 and exchange.request["method"] == "POST"
        # A replayed answer or a form would show no more.
        if path in ENDPOINTS and is_accepted and "headers" not in exchange.request:
            found.setdefault(path, exchange)
    return found


def _other_paths() -> Mapping[str, Sequence[str]]:
    own = _first_exchanges()
    found: dict[str, list[str]] = defaultdict(list)
    for path in ENDPOINTS:
        if path in own:
            continue
        wanted = endpoint_at(resolve(f"/{BASE}{path}"))
        for known, exchange in own.items():
            if endpoint_at(resolve(f"/{BASE}{known}")) == wanted:
                found[exchange.name].append(path)
                break
    return found


OTHER_PATHS: Final = _other_paths()
"""Name of an exchange -> paths below /api/ that answer its request alike."""


def at_path(exchange: Exchange, path: str) -> Exchange:
    """The same exchange at another path of its endpoint: only its result is fetched somewhere else."""
    body = dict(exchange.response["body"])
    if "fetch_result" in body:
        base, _, job_id = body["fetch_result"].partition(FETCH)
        host = base.partition(f"/{BASE}")[0]
        body["fetch_result"] = f"{host}/{BASE}{ENDPOINTS[path].family}{FETCH}{job_id}"
    return replace(
        exchange,
        request={**exchange.request, "path": f"/{BASE}{path}"},
        response={**exchange.response, "body": body},
    )
