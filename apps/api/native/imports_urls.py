"""Paths of imports, below /v1/imports."""

from __future__ import annotations

from django.urls import path

from apps.api.native import imports as views

urlpatterns = [
    path("imports", views.ImportListView.as_view()),
    path("imports/uploads", views.UploadListView.as_view()),
    path("imports/uploads/<str:upload_id>", views.UploadView.as_view()),
    path("imports/<str:import_id>", views.ImportView.as_view()),
    path("imports/<str:import_id>/cancel", views.ImportCancelView.as_view()),
    path("imports/<str:import_id>/retry", views.ImportRetryView.as_view()),
    path("imports/<str:import_id>/events", views.ImportEventsView.as_view()),
]
