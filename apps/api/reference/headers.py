"""Headers of answers, said once for the whole document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COMMON: Final = ("X-Request-Id",)
"""Of every answer."""
QUOTA: Final = (
    "RateLimit",
    "RateLimit-Policy",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)
"""Of whatever asks for images, unless the plan has no daily limit."""
FUNDING: Final = ("Darkroom-Funding", "Darkroom-Price-Micro")
"""Of whatever was accepted."""

_WHOLE: Final = {"type": "integer", "minimum": 0}
_TEXT: Final = {"type": "string"}
HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {  # Any: OpenAPI
    "X-Request-Id": {
        "description": "Names this request in the logs; yours is taken over if you send one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "example": "req_01hq8f3n2x",
    },
    "RateLimit": {
        "description": "What is left of the day (`r`), and seconds until it begins anew (`t`).",
        "schema": _TEXT,
        "example": '"calls";r=993;t=41280',
    },
    "RateLimit-Policy": {
        "description": "The plan's calls (`q`) in a window of seconds (`w`).",
        "schema": _TEXT,
        "example": '"calls";q=1000;w=86400',
    },
    "X-RateLimit-Limit": {"description": "Calls a day.", "schema": _WHOLE, "example": 1000},
    "X-RateLimit-Remaining": {"description": "Calls left today.", "schema": _WHOLE, "example": 993},
    "X-RateLimit-Reset": {
        "description": "Seconds until the count begins anew; of a refusal, until it may be sent again.",
        "schema": _WHOLE,
        "example": 41280,
    },
    "Darkroom-Funding": {
        "description": "What pays: plan, daily_free, promo, wallet or pay_as_you_go.",
        "schema": _TEXT,
        "example": "wallet",
    },
    "Darkroom-Price-Micro": {
        "description": "What it costs once it is delivered, in millionths of a US dollar; 0 is nothing.",
        "schema": _WHOLE,
        "example": 2000,
    },
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": _WHOLE, "example": 30},
    "Location": {"description": "Where to look after it.", "schema": _TEXT, "example": "/v1/jobs/1024"},
    "Idempotent-Replayed": {
        "description": "`true`: the answer of an earlier request with the same Idempotency-Key.",
        "schema": {"const": "true"},
    },
    "Preference-Applied": {
        "description": "What of `Prefer` was heeded.",
        "schema": _TEXT,
        "example": "wait=30",
    },
    "WWW-Authenticate": {
        "description": "How to say who you are.",
        "schema": _TEXT,
        "example": 'Bearer realm="darkroom"',
    },
    "X-Darkroom-Error": {
        "description": "The stable code of the refusal; the body has the dialect's own words.",
        "schema": _TEXT,
        "example": "invalid_field",
    },
    "X-Darkroom-Job": {
        "description": "Number of the job, for /v1/jobs/{job_id}.",
        "schema": _TEXT,
        "example": "1024",
    },
    "X-Darkroom-Tier": {"description": "The tier it ran in.", "schema": _TEXT, "example": "standard"},
    "X-Darkroom-Import": {
        "description": "Number of the import, for /v1/imports/{import_id}.",
        "schema": _TEXT,
        "example": "7",
    },
    "X-Should-Retry": {
        "description": "`false`: OpenAI's libraries shall not send it again.",
        "schema": {"const": "false"},
    },
    "ETag": {"description": "Of the file; send it back as If-None-Match.", "schema": _TEXT},
}
