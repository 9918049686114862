"""GET /models and /models/{id}, as OpenAI's libraries read them."""

from __future__ import annotations

from typing import Final, TypedDict

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from apps.api.json_bytes import json_bytes
from apps.api.openai.errors import Answer, Refusal
from apps.api.openai.models import DEFAULT, find_checkpoint, list_checkpoints
from apps.api.openai.views import OpenAIView
from apps.apikeys.choices import Scope
from apps.catalog.models import CatalogEntry

MOST: Final = 1000
"""Of a list, which has no pages there; the models that are used most."""


class Model(TypedDict):
    """One model."""

    id: str
    object: str
    created: int
    owned_by: str


class ModelListView(OpenAIView):
    """What `model` may be: checkpoints by their names, then the operator's list of OpenAI's names."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.MODELS_READ)
        models = [_model(entry) for entry in list_checkpoints(key).order_by("-use_count", "name")[:MOST]]
        for name in settings.OPENAI_MODELS:
            entry = find_checkpoint(name, key) if name != DEFAULT else None
            if entry is not None:
                models.append(_model(entry, name))
        return _json({"object": "list", "data": models})


class ModelView(OpenAIView):
    """One model, by any name that a request may use."""

    def get(self, request: Request, name: str) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.MODELS_READ)
        entry = find_checkpoint(name, key)
        if entry is None:
            answer = Answer(status=404, code="model_not_found", param="model")
            raise Refusal(f"The model {name[:200]!a} does not exist or you do not have access to it.", answer)
        return _json(_model(entry, name))


def _model(entry: CatalogEntry, name: str = "") -> Model:
    return {
        "id": name or entry.name,
        "object": "model",
        "created": int(entry.created_at.timestamp()),
        "owned_by": entry.provider or "darkroom",
    }


def _json(body: dict[str, object] | Model) -> HttpResponse:
    return HttpResponse(json_bytes(body), content_type="application/json")
