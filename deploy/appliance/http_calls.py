"""Plain HTTP to our own web process: JSON in, JSON or bytes out. Standard library only."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


class NoAnswerError(Exception):
    """Nothing listens yet, or the connection broke."""


def get_json(url: str, *, timeout_s: float = 5.0) -> tuple[int, dict[str, Any]]:
    """Status and body; an unreadable body is an empty one. Raises NoAnswerError."""
    status, body = _send(Request(url), timeout_s)  # noqa: S310  # our own http:// address
    return status, _parse(body)


def post_json(url: str, payload: dict[str, Any], *, timeout_s: float) -> tuple[int, dict[str, Any]]:
    """Status and body; an unreadable body is an empty one. Raises NoAnswerError."""
    headers = {"Content-Type": "application/json"}
    request = Request(url, json.dumps(payload).encode(), headers)  # noqa: S310  # our own http:// address
    status, body = _send(request, timeout_s)
    return status, _parse(body)


def get_bytes(url: str, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
    """Status and body. Raises NoAnswerError."""
    return _send(Request(url), timeout_s)  # noqa: S310  # our own http:// address


def _send(request: Request, timeout_s: float) -> tuple[int, bytes]:
    try:
        with urlopen(request, timeout=timeout_s) as answer:  # noqa: S310  # our own http:// address
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(str(error)) from None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
