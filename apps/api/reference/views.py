"""The reference as this appliance serves it: the document, a page to read and try it, a Postman collection.

Open to everybody: it says what the product can do and nothing about this installation. Nothing is loaded from
elsewhere, so that it works where there is no internet.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.api.json_bytes import json_bytes
from apps.api.reference.document import openapi_document
from apps.api.reference.postman import postman_collection

JSON_TYPE = "application/json"
CACHE = "public, max-age=300"


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3.1."""
    return _json(json_bytes(openapi_document()))


@require_safe
def postman(request: HttpRequest) -> HttpResponse:
    """The same for Postman, version 2.1 of its format."""
    return _json(json_bytes(postman_collection(base_url=f"{request.scheme}://{request.get_host()}")))


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The document for people."""
    response = render(request, "docs/reference.html")
    response.headers["Cache-Control"] = CACHE
    # All of the page is in it, and it talks to this server alone.
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self';"
        " img-src 'self' data: blob:; base-uri 'none'; form-action 'none'"
    )
    return response


def _json(body: bytes) -> HttpResponse:
    return HttpResponse(body, content_type=JSON_TYPE, headers={"Cache-Control": CACHE})
