"""The document tells of every path and every method there is, of no other, and of what each needs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.urls.resolvers import RoutePattern
from rest_framework.views import APIView

from apps.api import v1_urls
from apps.api.a1111.views import UnknownPathView as A1111Unknown
from apps.api.modelslab.general_views import NotOfferedView
from apps.api.modelslab.views import UnknownPathView as ModelsLabUnknown
from apps.api.native.views import UnknownPathView as NativeUnknown
from apps.api.openai.views import UnknownPathView as OpenAIUnknown
from apps.api.reference.document import all_operations
from apps.api.reference.operations import Operation
from apps.api.reference.routes import METHODS
from apps.apikeys.choices import ALL_SCOPES, Scope
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import make_key

OPENAI_OR_OURS: Any = v1_urls.urlpatterns
REFUSING = (A1111Unknown, ModelsLabUnknown, NativeUnknown, OpenAIUnknown, NotOfferedView)
"""What stands for all paths that are none, or for what is not offered."""
PAGES = re.compile(
    r"/(?:$|docs|console|downloads/|v1/openapi\.json$|v1/models|media/\{rest\}$"
    r"|accounts/|portal|pricing$|language$|payments/|metrics$)"
)
"""For people or for Stripe, about the API, before views that are told, or there to refuse."""
VALUES = {
    "job_id": "1",
    "import_id": "1",
    "name": "tiny",
    "model_id": "tiny",
    "expires": "1792065600",
    "mark": "m" * 22,
    "group": "7d0c0b8e-33f1-4c5e-9a34-6d9b1c2a5f10",
    "index": "0",
    "extension": "png",
}
"""Of parameters of paths; any text does for the others."""


def leaves(
    patterns: Sequence[URLPattern | URLResolver], prefix: str = ""
) -> Iterator[tuple[str, URLPattern]]:
    for each in patterns:
        path = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from leaves(each.url_patterns, path)
        else:
            yield path, each


def api_leaves() -> list[tuple[str, URLPattern, Any]]:
    """Path as Django writes it, pattern and class of every view that belongs to a dialect."""
    found = [
        (path, each, getattr(each.callback, "view_class", None))
        for path, each in leaves(get_resolver().url_patterns)
    ]
    return [
        (path, each, view)
        for path, each, view in found
        if isinstance(view, type) and issubclass(view, APIView) and view not in REFUSING
    ]


def test_what_is_no_view_of_a_dialect_is_told_or_for_people() -> None:
    known = {path for path, _ in told()}
    for path, each in leaves(get_resolver().url_patterns):
        template = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)
        is_view = isinstance(getattr(each.callback, "view_class", None), type)
        if isinstance(each.pattern, RoutePattern) and not is_view and template not in known:
            assert PAGES.match(template), f"{template} is neither in the document nor a page for people"


def paths_of(operation: Operation) -> list[str]:
    """A path as it is written; where a parameter has a closed set of values, one for each."""
    choices = [
        [(each.name, value) for value in each.schema["enum"]]  # type: ignore[attr-defined]  # JSON Schema
        for each in operation.parameters
        if each.place == "path" and "enum" in each.schema
    ]
    paths = []
    for chosen in itertools.product(*choices):
        path = operation.path
        for name, value in chosen:
            path = path.replace(f"{{{name}}}", value)
        paths.append(path)
    return paths


def example_path(operation: Operation) -> str:
    [path, *_] = paths_of(operation)
    return re.sub(r"\{(\w+)\}", lambda found: VALUES.get(found[1], "x"), path)


def told() -> set[tuple[str, str]]:
    return {(path, operation.method) for operation in all_operations() for path in paths_of(operation)}


def test_every_path_and_method_is_told() -> None:
    known = told()
    for path, each, view in api_leaves():
        if not isinstance(each.pattern, RoutePattern):
            continue
        template = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)
        for method in METHODS:
            if method in view.http_method_names and hasattr(view, method):
                assert (template, method) in known, f"{method.upper()} {template} is not in the document"


def test_patterns_that_stand_for_many_paths_lead_to_views_that_are_told() -> None:
    views = {resolve(example_path(operation)).func for operation in all_operations()}
    classes = {getattr(view, "view_class", None) for view in views}
    for path, each, view in api_leaves():
        if not isinstance(each.pattern, RoutePattern):
            assert view in classes, path


def test_nothing_else_is_told() -> None:
    for operation in all_operations():
        view: Any = resolve(example_path(operation)).func
        made_by = getattr(view, "view_class", None)
        assert made_by not in REFUSING, operation.path
        if made_by is not None:
            assert hasattr(made_by, operation.method), (operation.method, operation.path)


def test_openais_form_of_models_is_told_apart() -> None:
    choosing = [path for path, each in leaves(OPENAI_OR_OURS) if each.callback.__name__ == "chosen"]

    assert "models" in choosing
    assert ("/openai/v1/models/{name}", "get") in told()


def test_methods_that_are_not_told_are_refused(ada: ApiClient) -> None:
    known = told()
    for operation in {each.path: each for each in all_operations()}.values():
        for method in METHODS:
            if (paths_of(operation)[0], method) in known:
                continue
            response = getattr(ada.http, method)(example_path(operation), headers=ada.headers)
            assert response.status_code == 405, (method, operation.path, response.status_code)


def test_without_a_key_there_is_nothing_but_what_is_public(anybody: ApiClient) -> None:
    for operation in all_operations():
        response = getattr(anybody.http, operation.method)(example_path(operation))
        expected = operation.statuses if operation.said.is_public else (401,)
        assert response.status_code in expected, (operation.method, operation.path, response.status_code)


@pytest.mark.parametrize("scope", list(Scope))
def test_scopes_are_needed_as_told(scope: Scope, ada: ApiClient, cast: Cast) -> None:
    # Whoever manages the models of all needs no second scope for his own.
    lacking = {scope, Scope.MODELS_ADMIN} if scope == Scope.MODELS_WRITE else {scope}
    key = make_key(cast.account, scopes=[each for each in ALL_SCOPES if each not in lacking])
    client = ApiClient(key.plaintext)

    for operation in all_operations():
        if operation.said.scope != scope:
            continue
        method = getattr(client.http, operation.method)
        response = method(example_path(operation), headers=client.headers)
        assert response.status_code == 403, (operation.method, operation.path, response.content)
        assert str(scope) in response.content.decode(), operation.path


def test_what_asks_for_images_says_what_is_left(ada: ApiClient) -> None:
    for operation in all_operations():
        if operation.has_quota_headers and operation.method == "post":
            # Nobody takes an object for a prompt.
            response = ada.post(example_path(operation), {"prompt": {}})
            assert "RateLimit" in response.headers, operation.path
