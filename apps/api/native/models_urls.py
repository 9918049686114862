"""Paths of the catalogue, below /v1/models."""

from __future__ import annotations

from django.urls import path

from apps.api.native import models as views

urlpatterns = [
    path("models", views.ModelListView.as_view()),
    path("models/facets", views.FacetsView.as_view()),
    path("models/<str:name>", views.ModelView.as_view()),
    path("models/<str:name>/reload", views.ReloadView.as_view()),
    path("models/<str:name>/previews", views.PreviewsView.as_view()),
    path("models/<str:name>/previews/<str:file>", views.PreviewView.as_view()),
]
