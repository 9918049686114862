"""The dialect's refusals: OpenAI's envelope, types and codes, and what their libraries do about each.

    {"error": {"message": "...", "type": "invalid_request_error", "param": "size", "code": "invalid_value"}}

Their libraries send a request again, twice, on 408, 409, 429 and from 500 on, unless `x-should-retry` says
no. It does so where a repeat would be refused as well, and where an accepted job failed: sent
again, it would be another job of minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypedDict

from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from apps.api.callers import KEY_MISSING
from apps.api.json_bytes import json_bytes
from apps.apikeys.errors import ApiKeyMissing
from apps.core.errors import DomainError, InvalidField
from apps.core.logging import request_id

log = logging.getLogger(__name__)

INVALID: Final = "invalid_request_error"
USER_ERROR: Final = "image_generation_user_error"
SERVER_ERROR: Final = "server_error"
BILLING_ERROR: Final = "billing_limit_user_error"
# What the contract's own sample tells a refused caller to wait.
DEFAULT_RETRY_S = 30
DATABASE_RETRY_S = 5


class ErrorBody(TypedDict):
    """What stands under "error"."""

    message: str
    type: str
    param: str | None
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one of our refusals is called there."""

    status: int
    type: str = INVALID
    code: str = ""
    """"" is our own."""
    param: str | None = None
    is_final: bool = False
    """Whether a repeat would be refused as well."""


class Refusal(Exception):
    """A refusal that only this dialect knows, or that it words itself."""

    def __init__(
        self, message: str, answer: Answer, *, own_code: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.answer = answer
        self.own_code = own_code
        """Where it refines one of ours."""
        self.retry_after_s = retry_after_s


ANSWERS: Final[Mapping[str, Answer]] = {
    "api_key_missing": Answer(status=401, code="invalid_api_key"),
    "api_key_invalid": Answer(status=401, code="invalid_api_key"),
    "checkpoint_not_found": Answer(status=404, code="model_not_found", param="model"),
    "checkpoint_not_allowed": Answer(status=403, code="model_not_found", param="model"),
    "model_not_in_plan": Answer(status=403, code="model_not_found", param="model"),
    "model_disabled": Answer(status=403, param="model"),
    "model_not_found": Answer(status=404),
    "lora_not_found": Answer(status=404, param="loras"),
    "family_mismatch": Answer(status=400, param="loras"),
    "too_many_images": Answer(status=403, param="n"),
    "prompt_blocked": Answer(status=400, type=USER_ERROR, code="content_policy_violation", param="prompt"),
    "daily_quota_exhausted": Answer(
        status=429, type="insufficient_quota", code="insufficient_quota", is_final=True
    ),
    "monthly_quota_exhausted": Answer(
        status=429, type="insufficient_quota", code="insufficient_quota", is_final=True
    ),
    # As they answer whoever has run out of credits, and whoever has reached the limit of a month.
    "payment_required": Answer(
        status=429, type="insufficient_quota", code="insufficient_quota", is_final=True
    ),
    "budget_exhausted": Answer(
        status=400, type=BILLING_ERROR, code="billing_hard_limit_reached", is_final=True
    ),
    "queue_full": Answer(status=429, type="requests", code="rate_limit_exceeded"),
    "idempotency_mismatch": Answer(status=409, is_final=True),
}
"""By our code; all others keep their code and status."""


def invalid(param: str | None, message: str, *, code: str = "invalid_value") -> Refusal:
    """A 400 about one parameter."""
    return Refusal(message, Answer(status=400, code=code, param=param), own_code=InvalidField.code)


def refusal(
    message: str, answer: Answer, *, own_code: str = "", retry_after_s: int | None = None
) -> HttpResponse:
    """One error answer; our own code travels in a header."""
    response = HttpResponse(
        json_bytes({"error": error_body(message, answer)}),
        status=answer.status,
        content_type="application/json",
    )
    response.headers["X-Darkroom-Error"] = own_code or answer.code
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    if answer.is_final:
        response.headers["X-Should-Retry"] = "false"
    if answer.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="darkroom"'
    return response


def error_body(message: str, answer: Answer) -> ErrorBody:
    """What stands under "error", in answers and in events."""
    return {"message": message, "type": answer.type, "param": answer.param, "code": answer.code or None}


def handle(exception: Exception, context: object) -> HttpResponse | None:
    """For DRF: the answer to an exception, or None for what nobody foresaw (Django's 500 then)."""
    if isinstance(exception, Refusal):
        return refusal(
            str(exception),
            exception.answer,
            own_code=exception.own_code,
            retry_after_s=exception.retry_after_s,
        )
    if isinstance(exception, DomainError):
        return _domain_refusal(exception)
    if isinstance(exception, MethodNotAllowed):
        answer = Answer(status=exception.status_code, code="method_not_allowed")
        response = refusal(str(exception.detail), answer)
        view = context.get("view") if isinstance(context, dict) else None
        response.headers["Allow"] = ", ".join(getattr(view, "allowed_methods", []))
        return response
    if isinstance(exception, OperationalError | InterfaceError):
        log.error("the database does not answer", exc_info=exception)
        return refusal(
            "The service is temporarily unavailable; try again shortly.",
            Answer(status=503, type=SERVER_ERROR, code="database_unavailable"),
            retry_after_s=DATABASE_RETRY_S,
        )
    return None


def _domain_refusal(error: DomainError) -> HttpResponse:
    answer = answer_to(error)
    retry_after_s = error.retry_after_s
    message = KEY_MISSING if isinstance(error, ApiKeyMissing) else _sentence(str(error))
    is_passing = answer.status == HTTPStatus.TOO_MANY_REQUESTS and not answer.is_final
    if retry_after_s is None and is_passing:
        retry_after_s = DEFAULT_RETRY_S
    return refusal(message, answer, own_code=error.code, retry_after_s=retry_after_s)


def answer_to(error: DomainError) -> Answer:
    """How one of our refusals is called there."""
    if isinstance(error, InvalidField):
        is_missing = error.problem == "is required"
        code = "missing_required_parameter" if is_missing else "invalid_value"
        return Answer(status=400, code=code, param=error.field)
    known = ANSWERS.get(error.code, Answer(status=error.http_status))
    is_final = known.is_final or known.status == HTTPStatus.CONFLICT
    return Answer(
        status=known.status,
        type=known.type,
        code=known.code or error.code,
        param=known.param,
        is_final=is_final,
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def unknown_path(path: str, method: str) -> HttpResponse:
    """The 404 of a path that is no endpoint, in their words."""
    message = f"Invalid URL ({method} {path[:200]})"
    return refusal(message, Answer(status=404, code="unknown_url"))


def internal_error() -> HttpResponse:
    """The 500: an id to ask about, and nothing else. Whether a job was accepted is not known here."""
    message = f"Internal server error; request id {request_id.get() or 'unknown'}."
    return refusal(message, Answer(status=500, type=SERVER_ERROR, code="internal_error", is_final=True))


def bad_request() -> HttpResponse:
    """The 400 of what Django itself refuses before any view."""
    return refusal("The request cannot be read.", Answer(status=400, code="bad_request"))
