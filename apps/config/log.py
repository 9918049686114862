"""Logging to standard error, one line an event, with the request id of the HTTP request it belongs to.

As text for people, or as JSON for whatever collects logs.
"""

from __future__ import annotations

from typing import Any


def logging_settings(*, level: str, line_format: str) -> dict[str, Any]:
    """Django's LOGGING: the product at `level`, third parties at WARNING; `line_format` is text or json."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "request_id": {"()": "apps.core.logging.RequestIdFilter"},
            "probes": {"()": "apps.core.logging.ProbeFilter"},
        },
        "formatters": {
            "text": {
                "format": "%(asctime)s %(levelname)-7s %(name)s %(message)s%(request_suffix)s",
                "datefmt": "%H:%M:%S",
            },
            "json": {"()": "apps.core.logging.JsonFormatter"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": line_format, "filters": ["request_id"]}
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "apps": {"level": level},
            "gpu_runtime": {"level": level},
            "django-q": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            # Django logs each refusal (404, 400) as a warning; the access log already has them.
            "django.request": {"level": "ERROR", "filters": ["probes"]},
        },
    }
