"""Every path of the appliance. Order matters once: the dialects end with their own catch-all."""

from __future__ import annotations

from django.urls import include, path

from apps.api import health
from apps.api.reference import views as reference
from apps.portal.pages import entry

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/", include("apps.api.modelslab.urls")),
    path("v1/", include("apps.api.v1_urls")),
    path("openai/v1/", include("apps.api.openai.urls")),
    path("", include("apps.api.a1111.urls")),
    path("docs", reference.page, name="docs"),
    path("docs/postman.json", reference.postman),
    path("downloads/", include("apps.api.downloads.urls")),
    path("docs/guides", reference.guide_list, name="guides"),
    path("docs/guides/<slug:slug>", reference.guide),
    path("", include("apps.metrics.urls")),
    path("", include("apps.artifacts.urls")),
    path("", include("apps.catalog.urls")),
    # Ours stand before allauth's of the same paths and names.
    path("accounts/", include("apps.accounts.urls")),
    path("accounts/", include("allauth.urls")),
    path("payments/", include("apps.payments.urls")),
    path("", entry.landing, name="landing"),
    path("", include("apps.portal.urls")),
    path("", include("apps.console.urls")),
]

handler400 = "apps.api.unhandled.bad_request"
handler404 = "apps.api.unhandled.not_found"
handler500 = "apps.api.unhandled.server_error"
