"""Paths of the native API, below /v1/."""

from __future__ import annotations

from django.urls import path, re_path

from apps.api.native import imports_urls, keys_urls, models_urls, webhooks_urls
from apps.api.native.jobs import EstimateView, JobListView, UploadsView
from apps.api.native.views import CancelView, EventsView, JobView, UnknownPathView

endpoints = [
    path("jobs", JobListView.as_view()),
    path("estimate", EstimateView.as_view()),
    path("uploads", UploadsView.as_view()),
    path("jobs/<str:job_id>", JobView.as_view()),
    path("jobs/<str:job_id>/cancel", CancelView.as_view()),
    path("jobs/<str:job_id>/events", EventsView.as_view()),
    *models_urls.urlpatterns,
    *imports_urls.urlpatterns,
    *webhooks_urls.urlpatterns,
    *keys_urls.urlpatterns,
]
"""All that there is; what is not comes after them, in this dialect's words or in another's."""

urlpatterns = [*endpoints, re_path(r"^", UnknownPathView.as_view())]
