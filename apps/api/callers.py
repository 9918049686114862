"""Who is calling: finds the API key of a request in whichever place the client put it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.http import HttpRequest

from apps.apikeys.errors import ApiKeyInvalid
from apps.apikeys.models import ApiKey
from apps.apikeys.services import authenticate

BEARER = "bearer "
KEY_MISSING = "An API key is required: send it as `Authorization: Bearer <key>`."
"""What dialects say whose bodies have no place for a key."""


def identify_caller(request: HttpRequest, fields: Mapping[str, object], *, now: datetime) -> ApiKey:
    """The key of this request. Of several that are presented, any valid one is enough.

    Raises ApiKeyMissing when there is none anywhere, ApiKeyInvalid when none of them is usable.
    """
    address = request.META.get("REMOTE_ADDR") or None
    presented = list(dict.fromkeys(_presented_keys(request, fields)))
    for text in presented[:-1]:
        try:
            return authenticate(presented=text, address=address, now=now)
        except ApiKeyInvalid:
            continue
    return authenticate(presented=presented[-1] if presented else "", address=address, now=now)


def has_key(request: HttpRequest, fields: Mapping[str, object]) -> bool:
    """Whether there is a key anywhere, usable or not."""
    return next(_presented_keys(request, fields), None) is not None


def _presented_keys(request: HttpRequest, fields: Mapping[str, object]) -> Iterator[str]:
    """Every non-empty candidate: body, header `key`, `X-API-Key`, `Authorization: Bearer`, query."""
    authorization = request.headers.get("Authorization", "")
    candidates = (
        fields.get("key"),
        request.headers.get("key"),
        request.headers.get("X-Api-Key"),
        authorization[len(BEARER) :] if authorization.lower().startswith(BEARER) else None,
        request.GET.get("key"),
    )
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.strip():
            yield candidate.strip()
