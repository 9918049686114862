"""What each log line says beside its message: the HTTP request and the job that the thread works for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

PROBE_PATHS = frozenset({"/healthz", "/readyz"})
"""Asked every few seconds by whoever watches over the appliance; a line each time would bury the rest."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[int | None] = ContextVar("job_id", default=None)

FACTS: Final = ("method", "path", "status", "duration_ms", "delivery", "attempt", "rows", "part", "requests")
"""What callers may say with `extra`, and JSON lines then hold as fields of their own."""


@contextmanager
def working_for(*, request: str, job: int | None = None) -> Iterator[None]:
    """Lines within, and audit events, name the request that asked for this work, and its job."""
    of_request, of_job = request_id.set(request), job_id.set(job)
    try:
        yield
    finally:
        request_id.reset(of_request)
        job_id.reset(of_job)


class RequestIdFilter(logging.Filter):
    """Gives each record `request_id`, `job_id`, and `request_suffix`: the first in brackets, or nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        record.request_id, record.job_id = current, job_id.get()
        record.request_suffix = f" [{current}]" if current else ""
        return True


class ProbeFilter(logging.Filter):
    """Drops Django's error line for a probe that answered "not ready", which is what it is there for."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        return getattr(request, "path", None) not in PROBE_PATHS


class JsonFormatter(logging.Formatter):
    """One JSON object a line: what happened, when, and whom it concerns. Tracebacks stay in their line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        for name in ("request_id", "job_id", *FACTS):
            value = getattr(record, name, None)
            if value not in (None, ""):
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        # Whatever cannot be written as JSON is shown: a log line is no place to raise.
        return json.dumps(line, ensure_ascii=False, default=str)
