"""Paths of the ModelsLab dialect. None ends in a slash, and none redirects."""

from __future__ import annotations

from typing import Final

from django.urls import path, re_path

from apps.api.modelslab import general_urls, models_urls
from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.views import FetchView, GenerationView, UnknownPathView

# A model may be called "fetch".
FETCH: Final = r"(?!v6/model-search/|v7/models/)v[1-8](?:/[\w-]+)*/fetch(?:/(?P<job_id>[^/]+))?"
"""Any fetch path resolves any id, those of families included that make nothing here."""

urlpatterns = [
    *(path(route, GenerationView.as_view(endpoint=endpoint)) for route, endpoint in ENDPOINTS.items()),
    re_path(f"^{FETCH}$", FetchView.as_view()),
    *models_urls.urlpatterns,
    *general_urls.urlpatterns,
    re_path(r"^", UnknownPathView.as_view()),
]
