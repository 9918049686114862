"""Paths of the ModelsLab dialect. None ends in a slash, and none redirects."""

from __future__ import annotations

from django.urls import URLPattern, path, re_path

from apps.api.modelslab import models_urls
from apps.api.modelslab.views import FetchView, TextToImageView, UnknownPathView

TEXT_TO_IMAGE = {
    "v6/images/text2img": "v6",
    # Two official SDKs build this path by mistake.
    "v6/images/text2img/text2img": "v6",
    "v7/images/text-to-image": "v7",
}
FETCH = ("v6/images/fetch", "v7/images/fetch", "v6/fetch")


def _fetch_paths(prefix: str) -> list[URLPattern]:
    return [
        path(prefix, FetchView.as_view()),
        path(f"{prefix}/<str:job_id>", FetchView.as_view()),
    ]


urlpatterns = [
    *(path(route, TextToImageView.as_view(version=version)) for route, version in TEXT_TO_IMAGE.items()),
    *(pattern for prefix in FETCH for pattern in _fetch_paths(prefix)),
    *models_urls.urlpatterns,
    re_path(r"^", UnknownPathView.as_view()),
]
