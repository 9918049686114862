"""Paths of ModelsLab's model endpoints, below /api/."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path

from apps.api.modelslab import models_enterprise as enterprise
from apps.api.modelslab import models_views as views
from apps.api.modelslab.endpoints import HOSTS

MODEL_LIST: Final = ("v4/dreambooth/model_list", "v3/dreambooth/model_list", "v3/model_list")
SEARCH: Final = ("v6/model-search", "v7/models", "agents/v1/models")
MODEL_RELOAD: Final = (
    "v3/dreambooth/model_reload",
    "v4/dreambooth/model_reload",
    "v6/images/model_reload",
)
ENTERPRISE_VIEWS: Final = {
    "load_model": enterprise.LoadFirstView,
    "load_model_v2": enterprise.LoadSecondView,
    "load_lora": enterprise.LoadLoraView,
    "load_vae": enterprise.LoadVaeView,
    "verify_model": enterprise.VerifyModelView,
    "delete_model": enterprise.DeleteModelView,
    "model_reload": enterprise.ReloadModelView,
    "get_all_models": enterprise.AllModelsView,
    "schedulers_list": enterprise.SchedulersView,
    "sync_models": enterprise.SyncModelsView,
}
"""Below each of HOSTS."""


def _search_paths(prefix: str) -> list[URLPattern]:
    return [
        path(prefix, views.ModelSearchView.as_view()),
        path(f"{prefix}/filters", views.FacetsView.as_view()),
        path(f"{prefix}/tags", views.FacetsView.as_view(facet="tags")),
        path(f"{prefix}/providers", views.FacetsView.as_view(facet="providers")),
        path(f"{prefix}/<str:model_id>", views.ModelDetailView.as_view()),
    ]


urlpatterns: list[URLPattern] = [
    *(path(route, views.ModelListView.as_view()) for route in MODEL_LIST),
    *(pattern for prefix in SEARCH for pattern in _search_paths(prefix)),
    path("v3/load_model", views.LoadCommunityView.as_view()),
    *(path(route, enterprise.ReloadModelView.as_view()) for route in MODEL_RELOAD),
    path("v5/clear_cache", enterprise.CustomersClearCacheView.as_view()),
    *(
        path(f"{prefix}/{name}", view.as_view())
        for prefix in HOSTS
        for name, view in ENTERPRISE_VIEWS.items()
    ),
]
