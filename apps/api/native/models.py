"""Endpoints of the native API for the catalogue: list, look, change, delete, previews."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from rest_framework.request import Request

from apps.api.bodies import read_body, read_fields
from apps.api.json_bytes import json_bytes
from apps.api.native.forms import claim_of
from apps.api.native.models_fields import read_changes, read_list
from apps.api.native.models_render import facets_body, model_body, model_summary
from apps.api.native.repeats import answer_once
from apps.api.native.views import NativeView
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.apikeys.services import require_scope
from apps.catalog.choices import Visibility
from apps.catalog.errors import PreviewUnusable
from apps.catalog.facets import get_facets
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.previews import add_preview, remove_preview
from apps.catalog.search import page_after
from apps.catalog.selectors import find_entry, list_usable
from apps.catalog.services import change_entry
from apps.core import clock
from apps.core.errors import MalformedBody, NotFound
from apps.generation.model_control import delete_model, reload_model

MULTIPART = "multipart/form-data"


class ModelsView(NativeView):
    """Base: who may see and change which model."""

    def reader(self, http: HttpRequest) -> ApiKey:
        return self.identify(http, {}, Scope.MODELS_READ)

    def find(self, key: ApiKey, name: str) -> CatalogEntry:
        """A model the key may look at: whatever it may use; an operator's key, any. Raises NotFound."""
        usable = list_usable(account=key.account, key=key)
        return _get(CatalogEntry.objects.live() if is_operator(key) else usable, name)

    def find_own(self, http: HttpRequest, name: str) -> tuple[CatalogEntry, ApiKey]:
        """A model the caller may delete or illustrate: an operator's key, any; others their own private ones.

        Raises ScopeMissing for those they may merely use, NotFound for those they may not.
        """
        key = self.find_caller(http, {})
        if is_operator(key):
            return _get(CatalogEntry.objects.live(), name), key
        require_scope(key=key, scope=Scope.MODELS_WRITE)
        entry = _get(CatalogEntry.objects.visible_to(key.account), name)
        if entry.owner_id != key.account_id or entry.visibility != Visibility.PRIVATE:
            require_scope(key=key, scope=Scope.MODELS_ADMIN)
        return entry, key


class ModelListView(ModelsView):
    """A page of models; `next_cursor` leads on."""

    def get(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.reader(http)
        asked = read_list(http.GET, account=key.account)
        if asked.is_all:
            require_scope(key=key, scope=Scope.MODELS_ADMIN)
        entries = CatalogEntry.objects.live() if asked.is_all else list_usable(account=key.account, key=key)
        page = page_after(entries, asked.filters, order=asked.order, limit=asked.limit, cursor=asked.cursor)
        return json_response(
            {
                "items": [model_summary(entry, account=key.account) for entry in page.entries],
                "next_cursor": page.next_cursor,
            }
        )


class FacetsView(ModelsView):
    """How many models each value of a filter leaves."""

    def get(self, request: Request) -> HttpResponse:
        key = self.reader(request._request)
        return json_response(facets_body(get_facets(account=key.account, key=key)))


class ModelView(ModelsView):
    """One model."""

    def get(self, request: Request, name: str) -> HttpResponse:
        key = self.reader(request._request)
        return _model_response(self.find(key, name), key)

    def patch(self, request: Request, name: str) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.MODELS_ADMIN)
        entry = self.find(key, name)
        changes = read_changes(read_fields(http))
        changed = change_entry(
            entry=entry,
            changes=changes.columns,
            allowed_accounts=changes.allowed_accounts,
            actor=key.ref,
            now=clock.now(),
        )
        return _model_response(changed, key)

    def delete(self, request: Request, name: str) -> HttpResponse:
        entry, key = self.find_own(request._request, name)
        delete_model(entry=entry, actor=key.ref, now=clock.now())
        return HttpResponse(status=HTTPStatus.NO_CONTENT)


class ReloadView(ModelsView):
    """Workers load the model anew."""

    def post(self, request: Request, name: str) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.MODELS_ADMIN)
        entry = self.find(key, name)

        def act() -> HttpResponse:
            reload_model(entry=entry, actor=key.ref, now=clock.now())
            return json_response({"name": entry.name, "state": "reload_requested"}, HTTPStatus.ACCEPTED)

        return answer_once(http, key, act)


class PreviewsView(ModelsView):
    """Another preview: an image as the body itself, or as the file of a form."""

    def post(self, request: Request, name: str) -> HttpResponse:
        http = request._request
        entry, key = self.find_own(http, name)
        data = _uploaded(http)

        def act() -> HttpResponse:
            changed = add_preview(entry=entry, data=data, actor=key.ref, now=clock.now())
            return _model_response(changed, key, HTTPStatus.CREATED)

        return answer_once(http, key, act, claim=claim_of(http, {"preview": data}))


class PreviewView(ModelsView):
    """One preview of a model, by the last part of its URL."""

    def delete(self, request: Request, name: str, file: str) -> HttpResponse:
        entry, key = self.find_own(request._request, name)
        remove_preview(entry=entry, file=file, actor=key.ref, now=clock.now())
        return HttpResponse(status=HTTPStatus.NO_CONTENT)


def is_operator(key: ApiKey) -> bool:
    """Whether the key may see and change every model."""
    return key.allows_scope(Scope.MODELS_ADMIN)


def _get(entries: CatalogQuerySet, name: str) -> CatalogEntry:
    entry = find_entry(entries.select_related("owner"), name)
    if entry is None:
        raise NotFound(what="Model", id=name[:200])
    return entry


def _uploaded(http: HttpRequest) -> bytes:
    # Read first, so that a body that is too large or cut off is refused by its name.
    body = read_body(http)
    if http.content_type != MULTIPART:
        return body
    try:
        files = [file for field in http.FILES for file in http.FILES.getlist(field)]
    except (MultiPartParserError, BadRequest, SuspiciousOperation, UnicodeError):
        raise MalformedBody(problem="is not a readable form") from None
    if len(files) != 1:
        raise PreviewUnusable(problem="must be the one file of the form")
    data: bytes = files[0].read()
    return data


def _model_response(entry: CatalogEntry, key: ApiKey, status: int = HTTPStatus.OK) -> HttpResponse:
    return json_response(model_body(entry, account=key.account, is_operator=is_operator(key)), status)


def json_response(body: Mapping[str, object], status: int = HTTPStatus.OK) -> HttpResponse:
    """A JSON answer."""
    return HttpResponse(json_bytes(body), content_type="application/json", status=status)
