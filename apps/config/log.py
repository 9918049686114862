"""Logging to standard error, one line an event, with the request id of the HTTP request it belongs to."""

from __future__ import annotations

from typing import Any


def logging_settings(*, level: str) -> dict[str, Any]:
    """Django's LOGGING: the product at `level`, third parties at WARNING."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "request_id": {"()": "apps.core.logging.RequestIdFilter"},
            "probes": {"()": "apps.core.logging.ProbeFilter"},
        },
        "formatters": {
            "line": {
                "format": "%(asctime)s %(levelname)-7s %(name)s %(message)s%(request_suffix)s",
                "datefmt": "%H:%M:%S",
            }
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}
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
