"""Serving images to whoever holds a signed link. No credentials: an <img> tag sends none."""

from __future__ import annotations

import base64
from http import HTTPStatus
from uuid import UUID

from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe

from apps.artifacts.errors import ArtifactNotFound
from apps.artifacts.media import BASE64_EXTENSION
from apps.artifacts.models import Artifact
from apps.artifacts.ranges import Span, Unsatisfiable, asked_span, read_span
from apps.artifacts.selectors import access_linked
from apps.core import clock


@require_safe
def serve(
    request: HttpRequest, *, expires: int, mark: str, group: UUID, index: int, extension: str
) -> HttpResponseBase:
    """The image, or one and the same 404 for every link that does not lead to one (yet)."""
    try:
        artifact = access_linked(expires=expires, mark=mark, group=group, index=index, extension=extension)
        response = _conditional(request, artifact, extension) or _body(request, artifact, extension)
    except (ArtifactNotFound, FileNotFoundError):
        return _not_found()
    now_s = int(clock.now().timestamp())
    response["Cache-Control"] = f"private, max-age={max(0, expires - now_s)}"
    response["ETag"] = _etag(artifact, extension)
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _etag(artifact: Artifact, extension: str) -> str:
    # The text is another representation of the same bytes.
    suffix = "-base64" if extension == BASE64_EXTENSION else ""
    return quote_etag(artifact.sha256 + suffix)


def _conditional(request: HttpRequest, artifact: Artifact, extension: str) -> HttpResponse | None:
    """304 when the client already has it."""
    return get_conditional_response(request, etag=_etag(artifact, extension))


def _body(request: HttpRequest, artifact: Artifact, extension: str) -> HttpResponseBase:
    if extension == BASE64_EXTENSION:
        text = base64.b64encode(artifact.file_path.read_bytes())
        return HttpResponse(text, content_type="text/plain; charset=us-ascii")
    try:
        span = asked_span(request, size=artifact.size_bytes, etag=_etag(artifact, extension))
    except Unsatisfiable:
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return HttpResponse(status=status, headers={"Content-Range": f"bytes */{artifact.size_bytes}"})
    response = _whole(artifact) if span is None else _part(artifact, span)
    response["Accept-Ranges"] = "bytes"
    return response


def _part(artifact: Artifact, span: Span) -> HttpResponseBase:
    # Asked for before anything is sent: a file that is gone is a 404.
    artifact.file_path.stat()
    response = StreamingHttpResponse(
        read_span(artifact.file_path, span),
        status=HTTPStatus.PARTIAL_CONTENT,
        content_type=artifact.media_type,
    )
    response["Content-Range"] = span.content_range
    response["Content-Length"] = str(span.length)
    return response


def _whole(artifact: Artifact) -> HttpResponseBase:
    response = FileResponse(
        artifact.file_path.open("rb"), content_type=artifact.media_type, filename=str(artifact)
    )
    response["Content-Length"] = str(artifact.size_bytes)
    return response


def _not_found() -> JsonResponse:
    # `messege` is how ModelsLab spells it, and clients read it.
    message = str(ArtifactNotFound())
    body = {"status": "error", "message": message, "messege": message}
    return JsonResponse(body, status=HTTPStatus.NOT_FOUND, headers={"Cache-Control": "no-store"})


@require_safe
def refuse(request: HttpRequest, *, rest: str) -> JsonResponse:
    """Whatever else lies under /media/."""
    return _not_found()
