"""The dialect's refusals: one function from an exception to body and status.

Both spellings of the message go out, because each has its readers.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TypedDict

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from apps.api.json_bytes import json_bytes
from apps.api.quota_headers import limit_headers
from apps.core.errors import DomainError, NotFound
from apps.core.logging import request_id
from apps.quotas.errors import DailyQuotaExhausted

log = logging.getLogger(__name__)

# What the contract's own sample tells a refused caller to wait.
DEFAULT_RETRY_S = 30
DATABASE_RETRY_S = 5


class NotOffered(DomainError):
    """The contract has it, this server does not: video, voice, training and the like."""

    code = "not_offered"
    message = "{what} is not offered by this server{advice}."


class ErrorBody(TypedDict):
    """Every refusal."""

    status: str
    message: str
    messege: str


class RetryBody(ErrorBody):
    """A refusal that time cures."""

    retry_after: int


def refusal(message: str, status: int, *, code: str, retry_after_s: int | None = None) -> HttpResponse:
    """One error answer; `code` travels in a header, since the dialect's body has no place for it."""
    body: ErrorBody | RetryBody = {"status": "error", "message": message, "messege": message}
    if retry_after_s is not None:
        body = {**body, "retry_after": retry_after_s}
    response = HttpResponse(json_bytes(body), status=status, content_type="application/json")
    response.headers["X-Darkroom-Error"] = code
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
        response.headers["X-RateLimit-Reset"] = str(retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="darkroom"'
    return response


def handle(exception: Exception, context: object) -> HttpResponse | None:
    """For DRF: the answer to an exception, or None for what nobody foresaw (Django's 500 then)."""
    if isinstance(exception, DomainError):
        return _domain_refusal(exception)
    if isinstance(exception, MethodNotAllowed):
        response = refusal(str(exception.detail), exception.status_code, code="method_not_allowed")
        response.headers["Allow"] = ", ".join(_allowed_methods(context))
        return response
    if isinstance(exception, OperationalError | InterfaceError):
        log.error("the database does not answer", exc_info=exception)
        return refusal(
            "The service is temporarily unavailable; try again shortly.",
            HTTPStatus.SERVICE_UNAVAILABLE,
            code="database_unavailable",
            retry_after_s=DATABASE_RETRY_S,
        )
    return None


def _domain_refusal(error: DomainError) -> HttpResponse:
    retry_after_s = error.retry_after_s
    if retry_after_s is None and error.http_status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after_s = DEFAULT_RETRY_S
    response = refusal(str(error), error.http_status, code=error.code, retry_after_s=retry_after_s)
    if isinstance(error, DailyQuotaExhausted) and error.retry_after_s is not None:
        for name, value in limit_headers(limit=error.limit, remaining=0, reset_s=error.retry_after_s).items():
            response.headers[name] = value
    return response


def _allowed_methods(context: object) -> list[str]:
    view = context.get("view") if isinstance(context, dict) else None
    return list(getattr(view, "allowed_methods", []))


def unknown_path(path: str) -> HttpResponse:
    """The 404 of a path under /api/ that is no endpoint."""
    return _domain_refusal(NotFound(what="Path", id=path[:200]))


def internal_error() -> HttpResponse:
    """The 500: an id to ask about, and nothing else."""
    message = f"Internal server error; request id {request_id.get() or 'unknown'}."
    return refusal(message, HTTPStatus.INTERNAL_SERVER_ERROR, code="internal_error")


def bad_request() -> HttpResponse:
    """The 400 of what Django itself refuses before any view, such as a forged Host header."""
    return refusal("The request cannot be read.", HTTPStatus.BAD_REQUEST, code="bad_request")
