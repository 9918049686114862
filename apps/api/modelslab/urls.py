"""Paths of the ModelsLab dialect. None ends in a slash, and none redirects."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path, re_path

from apps.api.modelslab import general_urls, models_urls
from apps.api.modelslab.endpoints import ENDPOINTS, FAMILIES
from apps.api.modelslab.views import FetchView, GenerationView, UnknownPathView

FETCH: Final = (*FAMILIES, "v6", "v7", "v3", "v5/images", "v5/controlnet")
"""Any fetch path resolves any id."""


def _fetch_paths(prefix: str) -> list[URLPattern]:
    return [
        path(f"{prefix}/fetch", FetchView.as_view()),
        path(f"{prefix}/fetch/<str:job_id>", FetchView.as_view()),
    ]


urlpatterns = [
    *(path(route, GenerationView.as_view(endpoint=endpoint)) for route, endpoint in ENDPOINTS.items()),
    *(pattern for prefix in dict.fromkeys(FETCH) for pattern in _fetch_paths(prefix)),
    *models_urls.urlpatterns,
    *general_urls.urlpatterns,
    re_path(r"^", UnknownPathView.as_view()),
]
