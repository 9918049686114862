"""The native API's refusals: problem+json (RFC 9457) with the stable codes of DomainError."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from apps.api.callers import KEY_MISSING
from apps.api.json_bytes import json_bytes
from apps.apikeys.errors import ApiKeyMissing
from apps.core.errors import DomainError, InvalidField, NotFound
from apps.core.logging import request_id

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
DATABASE_RETRY_S = 5
HEADERS = frozenset({"Idempotency-Key", "Content-Range"})
OR = " or "
"""Between the names of fields of which one is wanted."""


class CsrfRefused(DomainError):
    """A browser sent a session along with a request that no page of ours made."""

    code = "csrf_refused"
    http_status = 403
    message = "The page is too old or of another site: reload the portal and try again."


class RoleMissing(DomainError):
    """The member is signed in, and may not do this for the account."""

    code = "role_missing"
    http_status = 403
    message = "Your role {role} does not include {permission}; ask an owner or administrator of the account."


class FieldRefused(InvalidField):
    """A refusal of one value, wherever in the body it stands."""

    def __init__(self, path: Sequence[str | int], *, problem: str) -> None:
        named = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
        super().__init__(field=named.removeprefix("."), problem=problem)
        self.pointer = pointer(path)
        """JSON pointer (RFC 6901) as the fragment of an address, as RFC 9457 has it."""


def pointer(path: Sequence[str | int]) -> str:
    """`#/controls/0/scale`."""
    return "#" + "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def problem(
    detail: str,
    status: int,
    *,
    code: str,
    retry_after_s: int | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> HttpResponse:
    """One error answer. `type` is about:blank: `code` is what a client distinguishes."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    if request_id.get():
        body["request_id"] = request_id.get()
    response = HttpResponse(json_bytes(body), status=status, content_type=PROBLEM_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="darkroom"'
    return response


def handle(exception: Exception, context: object) -> HttpResponse | None:
    """For DRF: the answer to an exception, or None for what nobody foresaw (Django's 500 then)."""
    if isinstance(exception, DomainError):
        return problem(
            KEY_MISSING if isinstance(exception, ApiKeyMissing) else str(exception),
            exception.http_status,
            code=exception.code,
            retry_after_s=exception.retry_after_s,
            errors=_places(exception, context),
        )
    if isinstance(exception, MethodNotAllowed):
        response = problem(str(exception.detail), exception.status_code, code="method_not_allowed")
        view = context.get("view") if isinstance(context, dict) else None
        response.headers["Allow"] = ", ".join(getattr(view, "allowed_methods", []))
        return response
    if isinstance(exception, OperationalError | InterfaceError):
        log.error("the database does not answer", exc_info=exception)
        return problem(
            "The service is temporarily unavailable; try again shortly.",
            HTTPStatus.SERVICE_UNAVAILABLE,
            code="database_unavailable",
            retry_after_s=DATABASE_RETRY_S,
        )
    return None


def _places(exception: DomainError, context: object) -> list[dict[str, str]]:
    """Where in the request the fault is: a pointer into the body, a header, or a parameter of the query."""
    if not isinstance(exception, InvalidField):
        return []
    if isinstance(exception, FieldRefused):
        return [{"detail": exception.problem, "pointer": exception.pointer}]
    return [{"detail": exception.problem, **_place(field, context)} for field in exception.field.split(OR)]


def _place(field: str, context: object) -> dict[str, str]:
    if field in HEADERS:
        return {"header": field}
    if _method(context) in ("GET", "HEAD"):
        return {"parameter": field}
    return {"pointer": pointer([field])}


def _method(context: object) -> str:
    request = context.get("request") if isinstance(context, dict) else None
    return str(getattr(request, "method", ""))


def unknown_path(path: str) -> HttpResponse:
    """The 404 of a path under /v1/ that is no endpoint."""
    error = NotFound(what="Path", id=path[:200])
    return problem(str(error), error.http_status, code=error.code)


def internal_error() -> HttpResponse:
    """The 500: an id to ask about, and nothing else."""
    return problem("Internal server error.", HTTPStatus.INTERNAL_SERVER_ERROR, code="internal_error")


def bad_request() -> HttpResponse:
    """The 400 of what Django itself refuses before any view."""
    return problem("The request cannot be read.", HTTPStatus.BAD_REQUEST, code="bad_request")
