"""The doors: start page, pricing, signing in and out, the language, changing the account."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import logout
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import check_for_language
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.current import switch_account
from apps.core import clock
from apps.portal.access import SIGN_IN, read_id
from apps.portal.plan_words import list_offers
from apps.portal.price_words import list_prices
from apps.portal.self_service import is_open

SIGN_UP = "account_signup"
# In the order of the contact sheet.
PICTURES = tuple(
    f"portal/pictures/{name}.png"
    for name in (
        "fox", "rocket", "coffee", "bulb", "avocado", "ghost", "guitar", "sailboat", "pumpkin", "house",
        "sunflower", "balloon",
    )
)  # fmt: skip


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What somebody sees who types the appliance's address into a browser. Tells nothing of its contents."""
    return render(request, "portal/landing.html", {"base_url": settings.BASE_URL, "pictures": PICTURES})


@require_safe
def pricing(request: HttpRequest) -> HttpResponse:
    """Plans that customers may choose, and prices beyond them. Raises Http404 where they choose none."""
    if not is_open():
        raise Http404
    context = {"offers": list_offers(), "prices": list_prices(now=clock.now())}
    return render(request, "portal/pricing.html", context)


@require_safe
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """To wherever one signs in."""
    return redirect(f"{SIGN_IN}?{urlencode({'next': reverse('portal:dashboard')})}")


@require_safe
def sign_up(request: HttpRequest) -> HttpResponseBase:
    """To wherever one signs up. Raises Http404 where there is no such page."""
    try:
        return redirect(reverse(SIGN_UP))
    except NoReverseMatch:
        raise Http404 from None


@require_POST
def sign_out(request: HttpRequest) -> HttpResponseBase:
    """End the session."""
    logout(request)
    return redirect("landing")


@require_POST
def language(request: HttpRequest) -> HttpResponseBase:
    """Keep the reader's language in a cookie and show the page again."""
    chosen = request.POST.get("language", "")
    response = redirect(_next(request))
    if chosen in dict(settings.LANGUAGES) and check_for_language(chosen):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            chosen,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            samesite="Lax",
            secure=settings.LANGUAGE_COOKIE_SECURE,
        )
    return response


def _next(request: HttpRequest) -> str:
    """Where the form asks to go on, if that is on this server."""
    wanted = request.POST.get("next", "/")
    # A name without a slash would be looked up as one of our pages.
    is_here = wanted.startswith("/") and url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}
    )
    return wanted if is_here else "/"


@require_POST
def switch(request: HttpRequest) -> HttpResponseBase:
    """Look at another of one's accounts. Raises Http404 for one that is not theirs."""
    account_id = read_id(request.POST.get("account", ""))
    if account_id is None:
        raise Http404
    switch_account(request, account_id)
    return redirect("portal:dashboard")


@require_safe
def no_account(request: HttpRequest) -> HttpResponseBase:
    """For who signed in and belongs to no account: an operator, or somebody who has left."""
    if not request.user.is_authenticated:
        return redirect(SIGN_IN)
    return render(request, "portal/no_account.html")
