"""Paths of the dialect by itself, below /openai/v1/, where nobody else's are."""

from __future__ import annotations

from django.urls import include, path, re_path

from apps.api.openai.models_views import ModelListView, ModelView
from apps.api.openai.views import UnknownPathView

urlpatterns = [
    path("images/", include("apps.api.openai.images_urls")),
    path("models", ModelListView.as_view()),
    path("models/<str:name>", ModelView.as_view()),
    re_path(r"^models/$", ModelListView.as_view()),
    # Names may have slashes, as those of repositories do, and libraries escape them or not.
    re_path(r"^models/(?P<name>.+?)/?$", ModelView.as_view()),
    re_path(r"^", UnknownPathView.as_view()),
]
