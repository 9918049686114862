"""`/metrics`, for Prometheus."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.core import clock
from apps.metrics.access import may_read
from apps.metrics.exposition import render
from apps.metrics.readings import read_all

REFUSED = (
    "Metrics are for this machine alone, or for whoever sends DARKROOM_METRICS_TOKEN:\n"
    "Authorization: Bearer TOKEN\n"
)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Every series of this appliance, whichever of its processes answers."""
    if not may_read(request):
        return HttpResponse(REFUSED, status=HTTPStatus.FORBIDDEN, content_type="text/plain; charset=utf-8")
    page, media_type = render(read_all(now=clock.now()), accept=request.headers.get("Accept", ""))
    return HttpResponse(page, content_type=media_type)
