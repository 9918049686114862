"""Management of the server's models, as ModelsLab's enterprise customers call it: for the operator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar, Final

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from apps.api.bodies import JsonObject, read_fields, read_query
from apps.api.modelslab import models_render as render
from apps.api.modelslab.models_fields import (
    LOAD_FIRST,
    LOAD_LORA,
    LOAD_SECOND,
    LOAD_VAE,
    ONE_MODEL,
    SYNC,
    get,
    read_values,
)
from apps.api.modelslab.models_views import LoadView, json_response
from apps.api.modelslab.render import said
from apps.api.modelslab.schedulers import SCHEDULERS
from apps.api.modelslab.views import JSON_TYPE, ModelsLabView
from apps.apikeys.choices import Scope
from apps.apikeys.errors import ApiKeyInvalid
from apps.apikeys.models import ApiKey
from apps.apikeys.services import authenticate
from apps.catalog import facets
from apps.catalog.choices import Kind
from apps.catalog.errors import EntryDisabled, EntryNotFound
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import find_entry, list_usable
from apps.core import clock
from apps.core.errors import InvalidField
from apps.generation.model_control import delete_model, reload_model
from apps.generation.selectors import backlog_s

CHUNK: Final = 1000


class EnterpriseView(ModelsLabView):
    """Base: every call needs an operator's key."""

    def operator(self, http: HttpRequest, fields: JsonObject) -> ApiKey:
        return self.identify(http, fields, Scope.MODELS_ADMIN)

    def asked(self, http: HttpRequest) -> JsonObject:
        return {**read_query(http), **read_fields(http)}


class LoadFirstView(LoadView):
    table = LOAD_FIRST
    scope = Scope.MODELS_ADMIN


class LoadSecondView(LoadView):
    table = LOAD_SECOND
    scope = Scope.MODELS_ADMIN


class LoadLoraView(LoadView):
    table = LOAD_LORA
    kind = Kind.LORA
    scope = Scope.MODELS_ADMIN


class LoadVaeView(LoadView):
    table = LOAD_VAE
    kind = Kind.VAE
    scope = Scope.MODELS_ADMIN
    message = "VAE load started"


class OneModelView(EnterpriseView):
    """Base of what is done to one model, found by name or alias, whosoever it is."""

    message: ClassVar[str]

    def post(self, request: Request) -> HttpResponse:
        fields = self.asked(request._request)
        key = self.operator(request._request, fields)
        name = get(read_values(ONE_MODEL, fields), "name", "")
        entry = find_entry(CatalogEntry.objects.live(), name)
        if entry is None:
            raise EntryNotFound(name=name)
        self.act(entry, key)
        return json_response(said(self.message))

    def act(self, entry: CatalogEntry, key: ApiKey) -> None:
        raise NotImplementedError


class VerifyModelView(OneModelView):
    message = "Model exists on server"

    def act(self, entry: CatalogEntry, key: ApiKey) -> None:
        if not entry.is_enabled:
            raise EntryDisabled(name=entry.name)


class DeleteModelView(OneModelView):
    message = "Model deleted on server"

    def act(self, entry: CatalogEntry, key: ApiKey) -> None:
        delete_model(entry=entry, actor=key.ref, now=clock.now())


class ReloadModelView(OneModelView):
    message = "Model reload started"

    def act(self, entry: CatalogEntry, key: ApiKey) -> None:
        reload_model(entry=entry, actor=key.ref, now=clock.now())


class AllModelsView(EnterpriseView):
    """Every enabled model, streamed: a hundred thousand of them never lie in memory together."""

    def post(self, request: Request) -> HttpResponseBase:
        self.operator(request._request, self.asked(request._request))
        return StreamingHttpResponse(_all_models(), content_type=JSON_TYPE)

    def get(self, request: Request) -> HttpResponseBase:
        return self.post(request)


def _all_models() -> Iterator[bytes]:
    """The body, CHUNK models a piece; each piece is one query from where the last one ended."""
    names = CatalogEntry.objects.live().filter(is_enabled=True).order_by("name")
    last = ""
    separator = b""
    yield b'{"status":"success","models":['
    while chunk := list(names.filter(name__gt=last).values_list("name", "created_at")[:CHUNK]):
        items = (json.dumps(render.loaded_item(*row), separators=(",", ":")) for row in chunk)
        yield separator + ",".join(items).encode("ascii")
        separator, last = b",", chunk[-1][0]
    yield b"]}"


class SchedulersView(EnterpriseView):
    """The scheduler names that requests may use; without a `status`, as the contract has it."""

    def post(self, request: Request) -> HttpResponse:
        self.operator(request._request, self.asked(request._request))
        return json_response({"schedulers": list(SCHEDULERS)})

    def get(self, request: Request) -> HttpResponse:
        return self.post(request)


class SyncModelsView(EnterpriseView):
    """Models that are here and that the holder of `sync_key` may not use. See the README."""

    def post(self, request: Request) -> HttpResponse:
        fields = self.asked(request._request)
        self.operator(request._request, fields)
        other = self._other(request._request, get(read_values(SYNC, fields), "sync_key", ""))
        theirs = list_usable(account=other.account, key=other).order_by().values("pk")
        lacking = CatalogEntry.objects.live().filter(is_enabled=True).exclude(pk__in=theirs)
        names = list(lacking.order_by("name").values_list("name", flat=True))
        are = "1 model of this server is" if len(names) == 1 else f"{len(names)} models of this server are"
        message = f"{are} missing for the other key"
        return json_response(said(message, model_list=names))

    def _other(self, http: HttpRequest, text: str) -> ApiKey:
        try:
            return authenticate(presented=text, address=http.META.get("REMOTE_ADDR"), now=clock.now())
        except ApiKeyInvalid:
            raise InvalidField(field="sync_key", problem="is not a key of this server") from None


class SystemDetailsView(EnterpriseView):
    """How much there is and how long a new request would wait, in seconds."""

    def post(self, request: Request) -> HttpResponse:
        self.operator(request._request, self.asked(request._request))
        return json_response(
            {
                "model_count": CatalogEntry.objects.live().filter(is_enabled=True).count(),
                "queue_time": backlog_s(now=clock.now()),
                "status": "ok",
            }
        )

    def get(self, request: Request) -> HttpResponse:
        return self.post(request)


class ClearCacheView(EnterpriseView):
    """Forgets what is remembered of the catalogue's counts; weights stay where they are."""

    scope: ClassVar[Scope] = Scope.MODELS_ADMIN

    def post(self, request: Request) -> HttpResponse:
        self.identify(request._request, self.asked(request._request), self.scope)
        facets.forget()
        return json_response(said("Cache cleared successfully"))

    def get(self, request: Request) -> HttpResponse:
        return self.post(request)


class CustomersClearCacheView(ClearCacheView):
    """/api/v5/clear_cache, which every customer may call: what is forgotten is counted anew at once."""

    scope = Scope.MODELS_READ
