"""Pages outside the admin site."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What somebody sees who types the appliance's address into a browser. Tells nothing of its contents."""
    return render(request, "console/landing.html", {"base_url": settings.BASE_URL})
