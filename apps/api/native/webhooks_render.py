"""From rows of webhooks to the native API's JSON, and the body of its own webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypedDict

from apps.api.native.events import describe
from apps.generation.models import GenerationJob
from apps.webhooks.bodies import Event
from apps.webhooks.models import Attempt, Delivery, Endpoint, SigningSecret


class AttemptBody(TypedDict):
    """One HTTP try; `status` is null when there was no answer."""

    started_at: str
    duration_ms: int
    status: int | None
    error: str | None
    answer: str


class DeliveryBody(TypedDict):
    """A delivery; `id` is the header `webhook-id`, times are ISO 8601 in UTC."""

    id: str
    event: str
    job_id: int | None
    import_id: int | None
    url: str
    state: str
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: str
    next_attempt_at: str | None
    ended_at: str | None


class DeliveryDetail(DeliveryBody):
    """With what was sent and what came back, until both are deleted with the job's images."""

    body: str | None
    tries: list[AttemptBody]


class EndpointBody(TypedDict):
    """An address that fails at present."""

    address: str
    failures: int
    paused_until: str | None
    disabled_at: str | None
    last_error: str


class SecretBody(TypedDict):
    """A signing secret without itself."""

    ends_with: str
    created_at: str
    ends_at: str | None


def delivery_body(row: Delivery) -> DeliveryBody:
    """A line of the log."""
    return {
        "id": row.event_id,
        "event": row.event,
        "job_id": row.job_id,
        "import_id": row.import_id,
        "url": row.url,
        "state": str(row.state),
        "attempts": row.attempts,
        "last_status": row.last_status,
        "last_error": row.last_error or None,
        "created_at": _iso(row.created_at),
        "next_attempt_at": _iso(row.due_at) if row.state == "waiting" else None,
        "ended_at": _iso(row.ended_at) if row.ended_at else None,
    }


def delivery_detail(row: Delivery, tries: Sequence[Attempt]) -> DeliveryDetail:
    """All of it."""
    body = None if row.body is None else bytes(row.body).decode("ascii")
    return {**delivery_body(row), "body": body, "tries": [_attempt(each) for each in tries]}


def _attempt(row: Attempt) -> AttemptBody:
    return {
        "started_at": _iso(row.started_at),
        "duration_ms": row.duration_ms,
        "status": row.status,
        "error": row.error or None,
        "answer": row.answer,
    }


def endpoint_body(row: Endpoint) -> EndpointBody:
    """What is held against an address."""
    return {
        "address": row.address,
        "failures": row.failures,
        "paused_until": _iso(row.paused_until) if row.paused_until else None,
        "disabled_at": _iso(row.disabled_at) if row.disabled_at else None,
        "last_error": row.last_error,
    }


def secret_body(row: SigningSecret) -> SecretBody:
    """By its end alone: the secret itself is shown once, when it is made."""
    return {
        "ends_with": row.hint,
        "created_at": _iso(row.created_at),
        "ends_at": _iso(row.ends_at) if row.ends_at else None,
    }


def webhook_body(event: Event) -> Mapping[str, object]:
    """What a webhook of this dialect says: Standard Webhooks' type, timestamp and data."""
    assert event.job_id is not None  # tests have a body of their own
    job = GenerationJob.objects.get(pk=event.job_id)
    return {"type": event.name, "timestamp": _iso(event.created_at), "data": describe(job)}


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
