"""Addresses of the account's settings, below /portal/."""

from __future__ import annotations

from django.urls import path

from apps.portal.preferences import views

urlpatterns = [path("settings", views.settings_page, name="settings")]
