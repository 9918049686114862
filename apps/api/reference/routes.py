"""Every path of the appliance with the methods that it answers, read off the URL configuration itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern
from rest_framework.views import APIView

METHODS: Final = ("get", "post", "put", "patch", "delete")
"""HEAD goes wherever GET does."""
PLACEHOLDER: Final = re.compile(r"<(?:[a-z_]+:)?([a-z_]+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path."""

    path: str
    """With its parameters in braces, as OpenAPI writes them."""
    view: Any
    """A class of views, or a function. Any: for comparing alone."""
    options: Mapping[str, Any]
    """What the view was made with."""

    @property
    def methods(self) -> tuple[str, ...]:
        """In lower case; those of a function are GET alone: all of ours are safe ones."""
        view = self.view
        if not isinstance(view, type) or not issubclass(view, APIView):
            return ("get",)
        return tuple(name for name in METHODS if name in view.http_method_names and hasattr(view, name))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the path's parameters."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


def list_routes() -> list[Route]:
    """All that have a path of their own, each once; whoever stands for many paths names some by himself."""
    found: dict[str, Route] = {}
    for route in _walk(get_resolver().url_patterns, ""):
        # Before a view of one dialect may stand a function that hands some clients to another dialect.
        if route.path not in found or not isinstance(found[route.path].view, type):
            found[route.path] = route
    return list(found.values())


def _walk(patterns: Sequence[URLPattern | URLResolver], prefix: str) -> Iterator[Route]:
    for each in patterns:
        # Regular expressions are there to refuse, or to take what stands for a path beside it.
        if not isinstance(each.pattern, RoutePattern):
            continue
        path = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, path)
        else:
            yield _route(each.callback, "/" + PLACEHOLDER.sub(r"{\1}", path))


def _route(view: Callable[..., Any], path: str) -> Route:
    made_by = getattr(view, "view_class", None)
    is_api = isinstance(made_by, type) and issubclass(made_by, APIView)
    options = getattr(view, "view_initkwargs", {})
    return Route(path=path, view=made_by if is_api else view, options=options)
