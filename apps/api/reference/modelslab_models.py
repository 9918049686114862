"""ModelsLab's endpoints about models, and the operator's, in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from apps.api.modelslab import models_enterprise as enterprise
from apps.api.modelslab import models_views as views
from apps.api.modelslab import server_views as server
from apps.api.modelslab.fields.table import Table
from apps.api.modelslab.models_fields import LIST_FIELDS, ONE_MODEL, SEARCH_FIELDS, SYNC
from apps.api.modelslab.models_render import ListedItem, SearchItem
from apps.api.modelslab.reference import KEY
from apps.api.modelslab.render import said
from apps.api.reference.operations import Parameter
from apps.api.reference.shapes import shape_of
from apps.api.reference.typed import schema_of
from apps.apikeys.choices import Scope

READ: Final = (400, 401, 403, 404, 413, 503)
"""Bodies are read with GET, too."""
Json = Mapping[str, Any]  # Any: JSON Schema


@dataclass(frozen=True, slots=True)
class Asking:
    """What is said of a view that answers GET and POST alike."""

    summary: str
    example: Any
    """Of the answer, JSON; None for what is always refused."""
    table: Table = ()
    """What it reads, where the view itself does not say."""
    scope: Scope | None = None
    """Where the view itself does not say."""
    refusals: tuple[int, ...] = (400, 401, 403, 404, 409, 413, 503)
    schema: Json | None = None
    """Of the answer, where the example does not say it all."""
    overrides: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Of the schema that is made of the example."""
    headers: tuple[str, ...] = ()
    description: str = ""


def query_of(properties: Any) -> tuple[Parameter, ...]:  # Any: JSON Schema
    """The fields of a body as parameters of a query; the key has its own way in."""
    return tuple(
        Parameter(name=name, place="query", schema=_plain(row), meaning=str(row.get("description", "")))
        for name, row in properties.items()
        if name != KEY
    )


def _plain(row: Json) -> Json:
    return {name: value for name, value in row.items() if name != "description"}


LISTED: Final = {
    "model_id": "starter",
    "status": "model_ready",
    "created_at": "2026-03-01T08:00:00.000000Z",
    "instance_prompt": None,
    "model_name": "Starter",
    "description": "The model that ships with the appliance.",
    "screenshots": "",
}
FOUND: Final = {
    **LISTED,
    "name": "Starter",
    "provider": "local",
    "feature": "imagen",
    "model_type": "stable_diffusion",
    "model_category": "stable_diffusion",
    "model_subcategory": "",
    "base_model": "sd15",
    "variant": "",
    "tags": ["icons"],
    "trigger_words": [],
    "previews": [],
    "licence": "CC0-1.0",
    "is_commercial_use_allowed": True,
    "uses": 12,
}
META: Final = {
    "total": 1,
    "is_total_exact": True,
    "page": 1,
    "current_page": 1,
    "per_page": 20,
    "last_page": 1,
}
_SEARCH: Final[Json] = {
    "type": "object",
    "required": ["status", "data", "meta"],
    "properties": {
        "status": {"const": "success"},
        "data": {"type": "array", "items": schema_of(SearchItem)},
        "meta": shape_of(META),
    },
}
_DETAIL: Final[Json] = {
    "type": "object",
    "required": ["status", "data"],
    "properties": {"status": {"const": "success"}, "data": schema_of(SearchItem)},
}
_READS: Final[dict[str, Any]] = {"scope": Scope.MODELS_READ, "refusals": READ}
_MANAGES: Final[dict[str, Any]] = {"scope": Scope.MODELS_ADMIN, "description": "For operators."}
_NEVER: Final = "Always refused, with what to do instead."


def _load(summary: str, message: str = "model load started") -> Asking:
    return Asking(
        summary,
        said(message),
        headers=("X-Darkroom-Import",),
        description="Accepted at once, done when the import has ended.",
    )


def _one(summary: str, message: str) -> Asking:
    return Asking(summary, said(message), table=ONE_MODEL, **_MANAGES)


SAID: Final[Mapping[type, Asking]] = {
    views.ModelListView: Asking(
        "Models you may use, as the oldest clients read them",
        [LISTED],
        table=LIST_FIELDS,
        schema={"type": "array", "items": schema_of(ListedItem)},
        **_READS,
    ),
    views.ModelSearchView: Asking(
        "Search for models",
        {"status": "success", "data": [FOUND], "meta": META},
        table=SEARCH_FIELDS,
        schema=_SEARCH,
        **_READS,
    ),
    views.FacetsView: Asking(
        "Values of the filters of a search, with counts",
        {"status": "success", "data": {"base_model": [{"name": "sd15", "value": "sd15", "count": 1}]}},
        schema=shape_of({"status": ""}),
        **_READS,
    ),
    views.ModelDetailView: Asking(
        "One model, with what requests to it may say",
        {"status": "success", "data": {**FOUND, "parameters": {}}},
        schema=_DETAIL,
        **_READS,
    ),
    views.LoadCommunityView: _load("Bring in a model"),
    enterprise.LoadFirstView: _load("Bring in a model (first version)"),
    enterprise.LoadSecondView: _load("Bring in a model (second version)"),
    enterprise.LoadLoraView: _load("Bring in a LoRA"),
    enterprise.LoadVaeView: _load("Bring in a VAE", "VAE load started"),
    enterprise.VerifyModelView: _one("Whether a model is there", "Model exists on server"),
    enterprise.DeleteModelView: _one("Delete a model", "Model deleted on server"),
    enterprise.ReloadModelView: _one("Let workers load a model anew", "Model reload started"),
    enterprise.AllModelsView: Asking(
        "Every enabled model",
        {"status": "success", "models": [{"model_id": "starter", "load_data": "03/01/2026 08:00:00"}]},
        **_MANAGES,
    ),
    enterprise.SchedulersView: Asking(
        "Schedulers that requests may name",
        {"schedulers": ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler"]},
        **_MANAGES,
    ),
    enterprise.SyncModelsView: Asking(
        "Models that the holder of another key may not use",
        said("1 model of this server is missing for the other key", model_list=["starter"]),
        table=SYNC,
        **_MANAGES,
    ),
    enterprise.SystemDetailsView: Asking(
        "How many models there are, and how long a new request would wait",
        {"model_count": 4, "queue_time": 1.5, "status": "ok"},
        **_MANAGES,
    ),
    enterprise.ClearCacheView: Asking(
        "Forget what is remembered of the catalogue's counts",
        said("Cache cleared successfully"),
        **_MANAGES,
    ),
    server.ClearQueueView: Asking(
        "Cancel everything that waits",
        said("Queue cleared successfully, 2 requests were canceled"),
        **_MANAGES,
    ),
    server.RestartView: Asking(
        "Start the processes that generate anew",
        said("server restarting", server_status="restarting"),
        **_MANAGES,
    ),
    server.UpdateView: Asking("Update the server", None, description=_NEVER, scope=Scope.MODELS_ADMIN),
    server.StorageView: Asking("Keep images on S3", None, description=_NEVER, scope=Scope.MODELS_ADMIN),
}
