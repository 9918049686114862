"""One attempt: an HTTP request and what became of it. Touches no row, so that any thread may run it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from django.conf import settings

from apps.core.clock import now
from apps.core.fetch_policy import FetchRefused, policy_from_settings
from apps.core.http import FetchFailed
from apps.core.http_post import Answer, post
from apps.webhooks.signing import signed_headers

ANSWER_BYTES: Final = 2048
MAX_ERROR_CHARS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Everything that an attempt needs."""

    event_id: str
    url: str
    body: bytes
    secrets: tuple[bytes, ...] = field(repr=False)
    request_id: str = ""
    """Of the request that it is a consequence of; sent as X-Request-Id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an attempt."""

    started_at: datetime
    duration_ms: int
    status: int | None = None
    """None when there was no answer."""
    error: str = ""
    """A sentence; empty when the endpoint took it."""
    answer: str = ""
    """How the answer's body begins."""
    retry_after_s: float | None = None
    """What the endpoint asked for."""

    @property
    def is_delivered(self) -> bool:
        return not self.error

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants nothing any more."""
        return self.status == HTTPStatus.GONE


def send(letter: Letter) -> Outcome:
    """Try once. Never raises for what the other side, or the way there, does."""
    started_at, began = now(), time.monotonic()
    headers = {"Content-Type": "application/json"} | signed_headers(
        secrets=letter.secrets, event_id=letter.event_id, body=letter.body, now=started_at
    )
    if letter.request_id:
        headers["X-Request-Id"] = letter.request_id
    try:
        answer = post(
            letter.url,
            content=letter.body,
            headers=headers,
            policy=policy_from_settings(),
            max_bytes=ANSWER_BYTES,
            total_s=settings.WEBHOOK_TIMEOUT_S,
        )
    except (FetchRefused, FetchFailed) as error:
        return Outcome(
            started_at=started_at, duration_ms=_since_ms(began), error=str(error)[:MAX_ERROR_CHARS]
        )
    return Outcome(
        started_at=started_at,
        duration_ms=_since_ms(began),
        status=answer.status,
        error=_error(answer.status),
        answer=_text(answer),
        retry_after_s=_retry_after_s(answer.headers, now()),
    )


def unsendable(problem: str) -> Outcome:
    """For what cannot even be tried."""
    return Outcome(started_at=now(), duration_ms=0, error=problem[:MAX_ERROR_CHARS])


def _since_ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _error(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"The endpoint answered {status}; redirects are not followed."
    if status == HTTPStatus.GONE:
        return "The endpoint answered 410: it wants no more deliveries."
    return f"The endpoint answered {status}."


def _text(answer: Answer) -> str:
    # PostgreSQL's text holds everything but this.
    return answer.head.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _retry_after_s(headers: Mapping[str, str], moment: datetime) -> float | None:
    """Seconds, from a number or a date; None without a readable one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - moment).total_seconds())
