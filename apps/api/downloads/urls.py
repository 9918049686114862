"""Paths below /downloads/."""

from __future__ import annotations

from django.urls import path, re_path

from apps.api.downloads import views

urlpatterns = [
    re_path(r"^simple/?$", views.projects),
    re_path(r"^simple/(?P<project>[^/]+)/?$", views.releases),
    path("<str:file>", views.download),
]
