"""Addresses of usage, below /portal/."""

from __future__ import annotations

from django.urls import path

from apps.portal.usage import views

urlpatterns = [
    path("usage", views.usage, name="usage"),
    path("usage/export.<str:extension>", views.export, name="usage_export"),
]
