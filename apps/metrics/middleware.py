"""Counts HTTP requests by dialect, status and refusal. In memory alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

from apps.core.counters import counter, gauge, histogram, tally
from apps.core.flushing import process_name
from apps.core.logging import PROBE_PATHS

REQUESTS: Final = counter(
    "darkroom_http_requests_total", "HTTP requests that were answered.", "dialect", "method", "status"
)
DURATION: Final = histogram(
    "darkroom_http_request_duration_seconds",
    "From an HTTP request's headers to its answer's, waiting for images included.",
    "dialect",
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0),
)
REFUSED: Final = counter(
    "darkroom_http_refusals_total",
    "Requests that were refused, by the code of the refusal: quota, money, queue, keys and all others.",
    "dialect",
    "reason",
)
PRESENT: Final = gauge(
    "darkroom_http_requests_in_progress", "HTTP requests that are being worked on.", "process"
)
HTTP_SERIES: Final = (REQUESTS, DURATION, REFUSED, PRESENT)

# The first that fits; OpenAI's lie below the native prefix.
DIALECTS: Final = (
    ("/v1/images/", "openai"),
    ("/openai/", "openai"),
    ("/v1/", "native"),
    ("/api/", "modelslab"),
    ("/sdapi/", "a1111"),
    ("/internal/", "a1111"),
    ("/controlnet/", "a1111"),
    ("/media/", "media"),
    ("/console", "console"),
    ("/portal", "portal"),
    ("/accounts/", "portal"),
    ("/payments/", "payments"),
    ("/static/", "static"),
)
PAGES: Final = "pages"
# RFC 9457: its body has the code that other dialects send as a header.
PROBLEM_TYPE: Final = "application/problem+json"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNCOUNTED: Final = PROBE_PATHS | {"/metrics"}


class HttpCountersMiddleware:
    """Stands behind the request id and before everything that may answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._present = 0

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path in UNCOUNTED:
            return self.get_response(request)
        started = time.monotonic()
        self._note(1)
        try:
            response = self.get_response(request)
        finally:
            self._note(-1)
        count_response(request, response, seconds=time.monotonic() - started)
        return response

    def _note(self, change: int) -> None:
        # Without a lock: threads switch between two additions so seldom that a gauge may bear it.
        self._present = max(0, self._present + change)
        tally.note(PRESENT, float(self._present), process_name())


def count_response(request: HttpRequest, response: HttpResponse, *, seconds: float) -> None:
    """Count one answer."""
    dialect = dialect_of(request.path)
    # Anybody may send any word as a method; each would be a series of its own.
    method = request.method if request.method in METHODS else "other"
    tally.count(REQUESTS, dialect, str(method), str(response.status_code))
    tally.observe(DURATION, seconds, dialect)
    reason = refusal_of(response)
    if reason:
        tally.count(REFUSED, dialect, reason)


def refusal_of(response: HttpResponse) -> str:
    """The product's own code for why a request was refused; "" where it was not."""
    if response.headers.get("Content-Type", "").startswith(PROBLEM_TYPE):
        return str(json.loads(response.content)["code"])
    return response.headers.get("X-Darkroom-Error", "")


def dialect_of(path: str) -> str:
    """Who speaks at a path."""
    return next((dialect for prefix, dialect in DIALECTS if path.startswith(prefix)), PAGES)
