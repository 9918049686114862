"""Serving previews. No credentials: an <img> tag sends none, and an address cannot be guessed."""

from __future__ import annotations

from http import HTTPStatus

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe

from apps.catalog.previews import MEDIA_TYPE, preview_path
from apps.core.errors import NotFound

YEAR_S = 365 * 24 * 3600


@require_safe
def preview(request: HttpRequest, *, file: str) -> HttpResponseBase:
    """The picture, for as long as a browser cares to keep it: its address changes with its contents."""
    try:
        path = preview_path(file)
    except NotFound:
        return HttpResponse("Not found.", status=HTTPStatus.NOT_FOUND, content_type="text/plain")
    etag = quote_etag(file)
    response: HttpResponseBase | None = get_conditional_response(request, etag=etag)
    if response is None:
        response = FileResponse(path.open("rb"), content_type=MEDIA_TYPE)
    response["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
    response["ETag"] = etag
    response["X-Content-Type-Options"] = "nosniff"
    return response
