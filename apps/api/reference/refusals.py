"""Refusals by dialect: one shape each, one example a status, shared by all operations of the document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from apps.api.modelslab.errors import ErrorBody as ModelsLabError
from apps.api.openai.errors import ErrorBody as OpenAIError
from apps.api.reference.operations import JSON, PROBLEM, Answer, JsonSchema
from apps.api.reference.typed import schema_of

NATIVE: Final = "darkroom"
MODELSLAB: Final = "modelslab"
OPENAI: Final = "openai"
A1111: Final = "automatic1111"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status, whichever dialect words it."""

    meaning: str
    code: str
    """Of the example; see templates/docs/errors.md for all."""
    message: str
    """Of the example."""
    headers: tuple[str, ...] = ()


STATUSES: Final[Mapping[int, Refusal]] = {
    400: Refusal(
        "A field, parameter or header is wrong; the message says which.",
        "invalid_field",
        "steps must be a whole number from 1 to 150, not 0",
    ),
    401: Refusal(
        "The API key is missing or not valid.",
        "api_key_invalid",
        "The API key is not valid.",
        ("WWW-Authenticate",),
    ),
    402: Refusal(
        "Nothing pays for it: top up the wallet, raise the budget or choose another plan.",
        "payment_required",
        "Insufficient credits: this request costs $0.002. Top up your wallet or upgrade your plan.",
    ),
    403: Refusal(
        "The key or the plan does not allow it.",
        "scope_missing",
        "This API key lacks the scope images:generate.",
    ),
    404: Refusal("There is no such thing, or it is not yours.", "not_found", "Job 1024 was not found."),
    409: Refusal(
        "It contradicts what has already happened.",
        "idempotency_mismatch",
        "The Idempotency-Key was used for another request.",
        ("Retry-After", "X-Should-Retry"),
    ),
    410: Refusal("The images were deleted meanwhile.", "expired", "The images of job 1024 have expired."),
    413: Refusal(
        "The body is too large.",
        "body_too_large",
        "The request body is larger than the 40 MB this server accepts.",
    ),
    422: Refusal("A field is wrong; `detail` says which.", "invalid_field", "steps must be 1 to 150, not 0"),
    429: Refusal(
        "The day's quota or the queue is full; see Retry-After.",
        "queue_full",
        "The queue is full.",
        ("Retry-After", "X-Should-Retry"),
    ),
    500: Refusal("The job failed; the message says why.", "out_of_memory", "The image does not fit."),
    503: Refusal(
        "The service is temporarily unavailable; see Retry-After.",
        "database_unavailable",
        "The service is temporarily unavailable; try again shortly.",
        ("Retry-After",),
    ),
    504: Refusal("Not ready in time; the job was canceled.", "timeout", "The images were not ready in time."),
}

_PLACE: Final = {"type": "string"}
PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {  # Any: JSON Schema
    "type": "object",
    "description": "RFC 9457; distinguish by `code`, which never changes its meaning.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Where in the request the faults are.",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {"detail": _PLACE, "pointer": _PLACE, "parameter": _PLACE, "header": _PLACE},
            },
        },
    },
}
_FASTAPI_FIELD: Final[Mapping[str, Any]] = {  # Any: JSON Schema
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {
            "anyOf": [
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["loc", "msg", "type"],
                        "properties": {
                            "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                            "msg": {"type": "string"},
                            "type": {"type": "string"},
                        },
                    },
                },
                {"type": "string", "description": "Of a script that is not there, or has other arguments."},
            ]
        }
    },
}
_FASTAPI: Final[Mapping[str, Any]] = {  # Any: JSON Schema
    "type": "object",
    "required": ["detail"],
    "properties": {name: {"type": "string"} for name in ("error", "detail", "body", "errors")},
}


def schemas() -> dict[str, JsonSchema]:
    """Bodies of refusals, by the name that they have in the document."""
    openai = {"type": "object", "required": ["error"], "properties": {"error": schema_of(OpenAIError)}}
    return {
        "Problem": PROBLEM_SCHEMA,
        "ModelsLabError": schema_of(ModelsLabError),
        "OpenAIError": openai,
        "A1111FieldError": _FASTAPI_FIELD,
        "A1111Error": _FASTAPI,
    }


def name_of(dialect: str, status: int) -> str:
    """Under which a refusal stands in components.responses."""
    return f"{dialect}_{status}"


def answers() -> dict[str, Answer]:
    """By `name_of`, every refusal of every dialect."""
    return {
        name_of(dialect, status): _answer(dialect, status, refusal)
        for dialect in (NATIVE, MODELSLAB, OPENAI, A1111)
        for status, refusal in STATUSES.items()
    }


def _answer(dialect: str, status: int, refusal: Refusal) -> Answer:
    body, schema = _body(dialect, status, refusal)
    own = () if dialect == NATIVE else ("X-Darkroom-Error",)
    # Only OpenAI's libraries look at it.
    headers = tuple(name for name in refusal.headers if name != "X-Should-Retry" or dialect == OPENAI)
    return Answer(
        meaning=refusal.meaning,
        media_type=PROBLEM if dialect == NATIVE else JSON,
        schema={"$ref": f"#/components/schemas/{schema}"},
        example=body,
        headers=(*headers, *own),
    )


def _body(dialect: str, status: int, refusal: Refusal) -> tuple[dict[str, object], str]:
    """An example of a refusal, and its schema's name."""
    message = refusal.message
    if dialect == MODELSLAB:
        return {"status": "error", "message": message, "messege": message}, "ModelsLabError"
    if dialect == OPENAI:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {
            "error": {"message": message, "type": kind, "param": None, "code": refusal.code}
        }, "OpenAIError"
    if dialect == A1111:
        return _fastapi(status, message)
    title = HTTPStatus(status).phrase
    problem: dict[str, object] = {"type": "about:blank", "title": title, "status": status}
    return problem | {"code": refusal.code, "detail": message, "request_id": "req_01hq8f3n2x"}, "Problem"


def _fastapi(status: int, message: str) -> tuple[dict[str, object], str]:
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        detail = {"loc": ["body", "steps"], "msg": message, "type": "value_error"}
        return {"detail": [detail]}, "A1111FieldError"
    if status == HTTPStatus.UNAUTHORIZED:
        return {"detail": "Not authenticated"}, "A1111Error"
    words = {"error": "HTTPException", "detail": message, "body": "", "errors": f"{status}: {message}"}
    return dict(words), "A1111Error"
