"""Going to Stripe's pages and coming back."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.payments.results import Redirect


def to_stripe(request: HttpRequest, way_on: Redirect) -> HttpResponse:
    """A page of ours that goes on to Stripe's.

    The answer to a form may not itself lead elsewhere: the policy of our pages names this server alone.
    """
    return render(request, "portal/billing/leaving.html", {"url": way_on.url})


def return_urls(token: str) -> tuple[str, str]:
    """Where Stripe sends the browser: after success, and after giving up."""
    success = reverse("portal:checkout_return", args=[token])
    return settings.BASE_URL + success, settings.BASE_URL + reverse("portal:billing")


def return_url() -> str:
    """Back to the page of billing."""
    return settings.BASE_URL + reverse("portal:billing")
