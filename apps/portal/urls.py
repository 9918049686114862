"""Every page of the portal, by the module of `pages` that shows it."""

from __future__ import annotations

from django.urls import include, path
from django.views.generic import RedirectView

from apps.portal.billing import urls as billing
from apps.portal.jobs import urls as jobs
from apps.portal.keys import urls as keys
from apps.portal.pages import dashboard, entry
from apps.portal.people import urls as people
from apps.portal.playground import urls as playground
from apps.portal.preferences import urls as preferences
from apps.portal.usage import urls as usage
from apps.portal.webhooks import urls as webhooks

app_name = "portal"

# Below /portal/. Each page adds its lines here.
PAGES = [
    path("", RedirectView.as_view(pattern_name="portal:dashboard")),
    path("sign-in", entry.sign_in, name="sign_in"),
    path("sign-up", entry.sign_up, name="sign_up"),
    path("sign-out", entry.sign_out, name="sign_out"),
    path("switch", entry.switch, name="switch"),
    path("no-account", entry.no_account, name="no_account"),
    *playground.urlpatterns,
    *keys.urlpatterns,
    *jobs.urlpatterns,
    *webhooks.urlpatterns,
    *usage.urlpatterns,
    *billing.urlpatterns,
    *preferences.urlpatterns,
    *people.urlpatterns,
]

urlpatterns = [
    path("language", entry.language, name="language"),
    path("pricing", entry.pricing, name="pricing"),
    path("portal", dashboard.dashboard, name="dashboard"),
    path("portal/", include(PAGES)),
]
