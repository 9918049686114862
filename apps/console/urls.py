"""The console. Included at the root by apps.config.urls."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

urlpatterns = [
    # Paths are not completed by a slash in this product, but people type this one without.
    path("console", RedirectView.as_view(url="/console/")),
    path("console/", admin.site.urls),
]
