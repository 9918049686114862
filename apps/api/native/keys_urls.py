"""Paths of keys and usage, below /v1/."""

from __future__ import annotations

from django.urls import path

from apps.api.native import keys as views

urlpatterns = [
    path("keys", views.KeyListView.as_view()),
    path("keys/<str:key_id>", views.KeyView.as_view()),
    path("usage", views.UsageView.as_view()),
]
