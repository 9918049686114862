"""The reference as this appliance serves it: the document, pages to read and try it, a Postman collection.

It says what the product can do and nothing about this installation, so it is open to whoever reaches the
server, unless the operator closes it. Nothing is loaded from elsewhere: it works where there is no internet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.api.callers import identify_caller
from apps.api.json_bytes import json_bytes
from apps.api.native import errors
from apps.api.reference import guides
from apps.api.reference.document import openapi_document
from apps.api.reference.postman import postman_collection
from apps.apikeys.errors import ApiKeyInvalid, ApiKeyMissing
from apps.core import clock

JSON_TYPE = "application/json"
MAX_AGE_S = 300
# All of a page is in it, and it talks to this server alone.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self';"
    " img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Page = Callable[..., HttpResponse]


def for_readers(page: Page) -> Page:
    """`page` for everybody; where the operator has closed the docs, for who is signed in or shows a key.

    Others are sent to sign in where a browser asks, else refused as the native API does.
    """

    @wraps(page)
    def shown(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not settings.PUBLIC_DOCS and not request.user.is_authenticated:
            refusal = _refusal(request)
            if refusal is not None:
                return refusal
        response = page(request, *args, **kwargs)
        reach = "public" if settings.PUBLIC_DOCS else "private"
        response.headers["Cache-Control"] = f"{reach}, max-age={MAX_AGE_S}"
        return response

    return shown


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """None for the holder of a key."""
    try:
        identify_caller(request, {}, now=clock.now())
    except (ApiKeyInvalid, ApiKeyMissing) as error:
        if "text/html" in request.headers.get("Accept", ""):
            return HttpResponseRedirect(f"{reverse('admin:login')}?{urlencode({'next': request.path})}")
        refusal = errors.handle(error, {})
        assert refusal is not None  # both are refusals of ours
        return refusal
    return None


@require_safe
@for_readers
def openapi(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3.1."""
    return HttpResponse(_document(), content_type=JSON_TYPE)


@cache
def _document() -> bytes:
    # A megabyte, the same for everybody.
    return json_bytes(openapi_document())


@require_safe
@for_readers
def postman(request: HttpRequest) -> HttpResponse:
    """The same for Postman, version 2.1 of its format."""
    return HttpResponse(json_bytes(postman_collection(base_url=_server(request))), content_type=JSON_TYPE)


@require_safe
@for_readers
def page(request: HttpRequest) -> HttpResponse:
    """The document for people."""
    return _html(request, "docs/reference.html", {"area": "reference"})


@require_safe
@for_readers
def guide_list(request: HttpRequest) -> HttpResponse:
    """Every guide with what it is about."""
    sections = [
        (name, [(slug, guides.guide(slug)) for slug in slugs]) for name, slugs in guides.SECTIONS.items()
    ]
    return _html(request, "docs/guides.html", {"area": "guides", "menu": guides.menu(), "sections": sections})


@require_safe
@for_readers
def guide(request: HttpRequest, slug: str) -> HttpResponse:
    """One guide."""
    try:
        found = guides.guide(slug)
    except LookupError:
        raise Http404 from None
    before, after = guides.neighbours(slug)
    context = {
        "area": "guides",
        "menu": guides.menu(),
        "slug": slug,
        "guide": found,
        "html": guides.html_for(found, server=_server(request)),
        "before": before,
        "after": after,
    }
    return _html(request, "docs/guide.html", context)


def _html(request: HttpRequest, template: str, context: dict[str, object]) -> HttpResponse:
    response = render(request, template, context)
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _server(request: HttpRequest) -> str:
    """The address under which the reader has found us."""
    return f"{request.scheme}://{request.get_host()}"
