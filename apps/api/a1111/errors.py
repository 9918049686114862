"""The dialect's refusals, in the three shapes that stable-diffusion-webui and FastAPI have for them.

    422  {"detail": [{"loc": ["body", "steps"], "msg": "...", "type": "value_error"}]}   a field is wrong
    any  {"error": "HTTPException", "detail": "...", "body": "", "errors": "404: ..."}   anything else
    401  {"detail": "..."}                                                               and 404, 405 of paths

Status codes are theirs where they have one, our own otherwise. Our code travels in `X-Darkroom-Error`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from apps.api.json_bytes import json_bytes
from apps.core.errors import DomainError, InvalidField
from apps.core.logging import request_id

log = logging.getLogger(__name__)

BASIC: Final = 'Basic realm="darkroom", charset="UTF-8"'
DEFAULT_RETRY_S: Final = 30
DATABASE_RETRY_S: Final = 5
NOBODY_THERE: Final = 499
"""As nginx logs it; no client sees it."""

CHECKPOINT_NOT_FOUND: Final = "checkpoint_not_found"
CONTROLNET_NOT_FOUND: Final = "controlnet_not_found"
DATABASE_UNAVAILABLE: Final = "database_unavailable"
IMAGES_EXPIRED: Final = "images_expired"
INTERROGATOR_NOT_FOUND: Final = "interrogator_not_found"
MODULE_NOT_FOUND: Final = "module_not_found"
OVERLOADED: Final = "overloaded"
PICTURE_MISSING: Final = "picture_missing"
PICTURE_UNREADABLE: Final = "picture_unreadable"
SAMPLER_NOT_FOUND: Final = "sampler_not_found"
SCHEDULER_NOT_FOUND: Final = "scheduler_not_found"
SCRIPT_NOT_FOUND: Final = "script_not_found"
TIMEOUT: Final = "timeout"
UNKNOWN_PATH: Final = "not_found"
UPSCALER_NOT_FOUND: Final = "upscaler_not_found"

HTTP_ERROR: Final = "HTTPException"
RUNTIME_ERROR: Final = "RuntimeError"


class BadField(Exception):
    """A value of the body that cannot be read, or means what this server cannot do: 422."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        """As the caller wrote it; dots lead into objects and lists ("alwayson_scripts.ControlNet.args.0")."""
        self.problem = problem


class Refusal(Exception):
    """An error in their words."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str,
        error: str = HTTP_ERROR,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        """Ours: one of the above, or why the job failed."""
        self.error = error
        """The class of the exception there; "RuntimeError" has its text under "errors" alone."""
        self.retry_after_s = retry_after_s


class ClientGone(Exception):
    """Nobody is there to be answered."""


def bad_picture(problem: str) -> Refusal:
    """Theirs, with what is wrong behind it."""
    detail = f"Invalid encoded image: {problem}"
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code=PICTURE_UNREADABLE)


def handle(exception: Exception, context: object) -> HttpResponse | None:
    """For DRF: the answer to an exception, or None for what nobody foresaw (Django's 500 then)."""
    match exception:
        case BadField():
            return _validation(exception.field, exception.problem)
        case InvalidField():
            return _validation(exception.field, exception.problem)
        case Refusal():
            return _answer(
                exception.status,
                exception.detail,
                error=exception.error,
                code=exception.code,
                retry_after_s=exception.retry_after_s,
            )
        case ClientGone():
            return HttpResponse(status=NOBODY_THERE)
        case DomainError():
            return _domain_refusal(exception)
        case MethodNotAllowed():
            return _method_not_allowed(exception, context)
        case OperationalError() | InterfaceError():
            log.error("the database does not answer", exc_info=exception)
            problem = "The service is temporarily unavailable; try again shortly."
            status = HTTPStatus.SERVICE_UNAVAILABLE
            return _answer(status, problem, code=DATABASE_UNAVAILABLE, retry_after_s=DATABASE_RETRY_S)
    return None


def _validation(field: str, problem: str) -> HttpResponse:
    """FastAPI's 422. An empty problem of our own is theirs: "field required"."""
    is_missing = problem == "is required"
    detail = {
        "loc": ["body", *(int(part) if part.isdigit() else part for part in field.split("."))],
        "msg": "field required" if is_missing else f"{field} {problem}",
        "type": "value_error.missing" if is_missing else "value_error",
    }
    return _json(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": [detail]}, code=InvalidField.code)


def _answer(
    status: int,
    detail: str,
    *,
    error: str = HTTP_ERROR,
    code: str = "",
    retry_after_s: int | None = None,
) -> HttpResponse:
    is_http = error == HTTP_ERROR
    body = {
        "error": error,
        "detail": detail if is_http else "",
        "body": "",
        "errors": f"{int(status)}: {detail}" if is_http else detail,
    }
    return _json(status, body, code=code, retry_after_s=retry_after_s)


def _domain_refusal(error: DomainError) -> HttpResponse:
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        return _unauthorised(error)
    retry_after_s = error.retry_after_s
    if retry_after_s is None and error.http_status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after_s = DEFAULT_RETRY_S
    return _answer(error.http_status, str(error), code=error.code, retry_after_s=retry_after_s)


def _unauthorised(error: DomainError) -> HttpResponse:
    """Their words; browsers and libraries send credentials when they see the header."""
    is_missing = error.code == "api_key_missing"
    detail = "Not authenticated" if is_missing else "Incorrect username or password"
    response = _json(HTTPStatus.UNAUTHORIZED, {"detail": detail}, code=error.code)
    response.headers["WWW-Authenticate"] = BASIC
    return response


def _method_not_allowed(error: MethodNotAllowed, context: object) -> HttpResponse:
    response = _json(error.status_code, {"detail": "Method Not Allowed"}, code="method_not_allowed")
    view = context.get("view") if isinstance(context, dict) else None
    response.headers["Allow"] = ", ".join(getattr(view, "allowed_methods", []))
    return response


def _json(
    status: int, body: Mapping[str, object], *, code: str = "", retry_after_s: int | None = None
) -> HttpResponse:
    response = HttpResponse(json_bytes(body), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    if code:
        response.headers["X-Darkroom-Error"] = code
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def unknown_path() -> HttpResponse:
    """FastAPI's 404; clients switch a feature off when they see it."""
    return _json(HTTPStatus.NOT_FOUND, {"detail": "Not Found"}, code=UNKNOWN_PATH)


def internal_error() -> HttpResponse:
    """The 500: an id to ask about, and nothing else."""
    detail = f"Internal server error; request id {request_id.get() or 'unknown'}."
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="internal_error")


def bad_request() -> HttpResponse:
    """The 400 of what Django itself refuses before any view."""
    return _answer(HTTPStatus.BAD_REQUEST, "The request cannot be read.", code="bad_request")
