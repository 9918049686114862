"""The request id of the HTTP request that the current thread works for, added to each log line."""

from __future__ import annotations

import logging
from contextvars import ContextVar

PROBE_PATHS = frozenset({"/healthz", "/readyz"})
"""Asked every few seconds by whoever watches over the appliance; a line each time would bury the rest."""

request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestIdFilter(logging.Filter):
    """Gives each record `request_suffix`: the current request id in brackets, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        record.request_suffix = f" [{current}]" if current else ""
        return True


class ProbeFilter(logging.Filter):
    """Drops Django's error line for a probe that answered "not ready", which is what it is there for."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        return getattr(request, "path", None) not in PROBE_PATHS
