"""The request id of the HTTP request that the current thread works for, added to each log line."""

from __future__ import annotations

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestIdFilter(logging.Filter):
    """Gives each record `request_suffix`: the current request id in brackets, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        record.request_suffix = f" [{current}]" if current else ""
        return True
