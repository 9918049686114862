"""Request ids and one access line per request."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from apps.core import logging as request_logging
from apps.core.ids import new_request_id
from apps.core.logging import PROBE_PATHS

access_log = logging.getLogger("apps.access")

# A caller's own id is taken over only when it is harmless in a log line and a header.
ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Gives each request an id, echoes it as `X-Request-Id`, and logs one line when it ends."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if ACCEPTABLE_ID.fullmatch(given) else new_request_id()
        token = request_logging.request_id.set(request_id)
        started = time.monotonic()
        try:
            response = self.get_response(request)
            duration_ms = (time.monotonic() - started) * 1000
            # The path alone: query strings may carry keys.
            level = logging.DEBUG if request.path in PROBE_PATHS else logging.INFO
            facts = {
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "duration_ms": round(duration_ms, 1),
            }
            access_log.log(level, "%(method)s %(path)s %(status)d %(duration_ms).0f ms", facts, extra=facts)
        finally:
            request_logging.request_id.reset(token)
        response["X-Request-Id"] = request_id
        return response
