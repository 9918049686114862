"""Links to previews. Included at the root by apps.config.urls."""

from __future__ import annotations

from django.urls import path

from apps.catalog import views

urlpatterns = [path("previews/<str:file>", views.preview, name="preview")]
