"""Settings, lists, and what there is nothing to do for here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from apps.api.a1111 import lists
from apps.api.a1111.options import change_options, shown_options
from apps.api.a1111.views import A1111View, answer
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey


class OptionsView(A1111View):
    """The caller's own settings."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.MODELS_READ)
        return answer(shown_options(key))

    def post(self, request: Request) -> HttpResponse:
        key, fields = self.read(request, Scope.IMAGES_GENERATE)
        change_options(key, fields)
        return answer(None)


class ListView(A1111View):
    """A list, by `made_by`."""

    made_by: Callable[[ApiKey], Mapping[str, Any] | Sequence[object]] = staticmethod(lists.nothing)

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.MODELS_READ)
        return answer(self.made_by(key))


class NothingToDoView(A1111View):
    """There, a folder is read again or weights change their place; here both happen by themselves."""

    result: Mapping[str, object] | None = None

    def post(self, request: Request) -> HttpResponse:
        self.identify(request._request, {}, Scope.MODELS_READ)
        return answer(self.result)
