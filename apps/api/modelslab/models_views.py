"""ModelsLab's model endpoints for customers: list, search, look at, load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from apps.api.bodies import JsonObject, read_fields, read_query
from apps.api.json_bytes import json_bytes
from apps.api.modelslab import models_render as render
from apps.api.modelslab.fields.table import Field
from apps.api.modelslab.models_fields import (
    DEFAULT_LIST,
    DEFAULT_PER_PAGE,
    LIST_FIELDS,
    LOAD_COMMUNITY,
    SEARCH_FIELDS,
    ListRequest,
    read_list,
)
from apps.api.modelslab.models_load import NAMES, translate_load
from apps.api.modelslab.models_schema import parameters_of
from apps.api.modelslab.render import said
from apps.api.modelslab.views import JSON_TYPE, ModelsLabView
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.apikeys.services import require_scope
from apps.catalog.choices import Kind
from apps.catalog.facets import Facets, get_facets
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.services import submit_import
from apps.catalog.models import ModelImport
from apps.catalog.search import NumberedPage, page_number
from apps.catalog.selectors import find_entry, list_usable
from apps.core import clock
from apps.core.errors import InvalidField, NotFound


class ModelsView(ModelsLabView):
    """Base of the views that read models."""

    def asked(self, http: HttpRequest) -> JsonObject:
        """Body and query together; documented GETs carry their fields in either. Lists may repeat a name."""
        fields = {**read_query(http), **read_fields(http)}
        for name in ("tags", "tags[]"):
            if len(http.GET.getlist(name)) > 1:
                fields["tags"] = [tag for value in http.GET.getlist(name) for tag in value.split(",")]
        return fields

    def reader(self, http: HttpRequest, fields: JsonObject) -> ApiKey:
        return self.identify(http, fields, Scope.MODELS_READ)


class ModelListView(ModelsView):
    """A bare array, as the oldest clients read it: what `model_id` may be, or the type that is asked for."""

    def post(self, request: Request) -> HttpResponse:
        fields = self.asked(request._request)
        key = self.reader(request._request, fields)
        asked = read_list(LIST_FIELDS, fields, per_page=DEFAULT_LIST, kinds=(Kind.CHECKPOINT,))
        return json_response([render.listed_item(entry) for entry in find_page(key, asked).entries])

    def get(self, request: Request) -> HttpResponse:
        return self.post(request)


class ModelSearchView(ModelsView):
    """A page of models with its total."""

    def get(self, request: Request) -> HttpResponse:
        fields = self.asked(request._request)
        key = self.reader(request._request, fields)
        asked = read_list(SEARCH_FIELDS, fields, per_page=DEFAULT_PER_PAGE)
        found = find_page(key, asked)
        return json_response(
            {
                "status": "success",
                "data": [render.search_item(entry) for entry in found.entries],
                "meta": {
                    "total": found.total,
                    "is_total_exact": found.is_total_exact,
                    "page": asked.page,
                    "current_page": asked.page,
                    "per_page": asked.per_page,
                    "last_page": max(1, -(-found.total // asked.per_page)),
                },
            }
        )

    def post(self, request: Request) -> HttpResponse:
        return self.get(request)


class ModelDetailView(ModelsView):
    """One model, with what requests to it may say."""

    def get(self, request: Request, model_id: str) -> HttpResponse:
        key = self.reader(request._request, self.asked(request._request))
        entry = find_entry(list_usable(account=key.account, key=key), model_id)
        if entry is None:
            raise NotFound(what="Model", id=model_id[:200])
        data = {**render.search_item(entry), "parameters": parameters_of(entry)}
        return json_response({"status": "success", "data": data})


class FacetsView(ModelsView):
    """Values of the filters with counts; `facet` names one, or all for ""."""

    facet: str = ""

    def get(self, request: Request) -> HttpResponse:
        key = self.reader(request._request, self.asked(request._request))
        return json_response(
            {"status": "success", "data": self._data(get_facets(account=key.account, key=key))}
        )

    def _data(self, facets: Facets) -> object:
        if self.facet == "tags":
            return render.facet_items(facets.tags)
        if self.facet == "providers":
            return render.facet_items(facets.providers)
        return render.filters_body(facets)


class LoadView(ModelsLabView):
    """Base of the endpoints that bring in a model: accepted at once, done when the import has ended."""

    table: ClassVar[tuple[Field, ...]]
    kind: Kind | None = None
    message: str = "model load started"

    def post(self, request: Request) -> HttpResponse:
        fields = read_fields(request._request)
        key = self.identify(request._request, fields, self.scope)
        load = translate_load(self.table, fields, account_id=key.account_id, kind=self.kind)
        if not load.is_private:
            # What everybody sees, an operator brings in.
            require_scope(key=key, scope=Scope.MODELS_ADMIN)
        started = self._submit(key, load.options, is_private=load.is_private)
        response = json_response(said(self.message))
        # Additions travel in headers: bodies are the contract's.
        response.headers["X-Darkroom-Import"] = str(started.pk)
        return response

    scope: ClassVar[Scope] = Scope.MODELS_WRITE

    def _submit(self, key: ApiKey, options: ImportOptions, *, is_private: bool) -> ModelImport:
        try:
            return submit_import(
                options=options,
                account=key.account if is_private else None,
                actor=key.ref,
                now=clock.now(),
            )
        except InvalidField as error:
            theirs = {field.ours: field.theirs for field in self.table}
            raise error.renamed(theirs.get(error.field) or NAMES.get(error.field, error.field)) from None


class LoadCommunityView(LoadView):
    """/api/v3/load_model."""

    table = LOAD_COMMUNITY


def find_page(key: ApiKey, asked: ListRequest) -> NumberedPage:
    """The entries that the key's holder may use, as asked for."""
    if not asked.is_possible:
        return NumberedPage(entries=[], total=0, is_total_exact=True)
    return page_number(
        list_usable(account=key.account, key=key),
        asked.filters,
        order=asked.order,
        page=asked.page,
        per_page=asked.per_page,
    )


def json_response(body: Mapping[str, object] | Sequence[Mapping[str, object]]) -> HttpResponse:
    """200 with this body."""
    return HttpResponse(json_bytes(body), content_type=JSON_TYPE)
