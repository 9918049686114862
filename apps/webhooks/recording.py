"""What an attempt changes: the delivery, its log, and what is known of the endpoint; in one transaction."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.audit.refs import SYSTEM
from apps.audit.services import record as audit
from apps.webhooks.choices import DeliveryState
from apps.webhooks.circuit import Health, Pauses, after_failure
from apps.webhooks.models import Attempt, Delivery, Endpoint
from apps.webhooks.schedule import retry_at
from apps.webhooks.sending import Outcome

log = logging.getLogger(__name__)

# Spreads retries; nothing that anybody could gain from foreseeing.
DRAW: Final = random.Random()  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A claimed delivery and what became of its attempt."""

    delivery: Delivery
    outcome: Outcome


def record_attempts(tried: Sequence[Tried], *, now: datetime) -> None:
    """Write outcomes. One whose delivery was taken back meanwhile is dropped: somebody sends it again."""
    # In the order of ids, as everybody who locks several.
    for one in sorted(tried, key=lambda each: each.delivery.pk):
        with transaction.atomic():
            _record(one.delivery, one.outcome, now)


def _record(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    changes = _changes(delivery, outcome, now)
    held = Delivery.objects.filter(pk=delivery.pk, fence=delivery.fence, state=DeliveryState.SENDING)
    if held.update(**changes) != 1:
        log.info("outcome dropped: delivery %s was taken back", delivery.event_id)
        return
    Attempt.objects.create(
        delivery_id=delivery.pk,
        started_at=outcome.started_at,
        duration_ms=outcome.duration_ms,
        status=outcome.status,
        error=outcome.error,
        # What has been forgotten must not come back by way of an answer that quotes it.
        answer=outcome.answer if delivery.expires_at > now else "",
    )
    if outcome.is_delivered:
        _note_success(delivery, now)
    elif outcome.is_gone:
        _disable(delivery, outcome, now)
    else:
        _note_failure(delivery, outcome, now)


def _changes(delivery: Delivery, outcome: Outcome, now: datetime) -> Mapping[str, object]:
    """Of the delivery's row."""
    changes: dict[str, object] = {
        "attempts": delivery.attempts + 1,
        "claimed_by": "",
        "is_forced": False,
        "last_status": outcome.status,
        "last_error": outcome.error,
    }
    if outcome.is_delivered:
        return changes | {"state": DeliveryState.DELIVERED, "ended_at": now}
    due_at = None
    if not outcome.is_gone:
        due_at = retry_at(
            attempts=delivery.attempts + 1,
            begun_at=delivery.begun_at,
            now=now,
            retry_after_s=outcome.retry_after_s,
            delays_s=settings.WEBHOOK_RETRY_S,
            draw=DRAW,
        )
    if due_at is None:
        return changes | {"state": DeliveryState.FAILED, "ended_at": now}
    return changes | {"state": DeliveryState.WAITING, "due_at": due_at}


def _note_success(delivery: Delivery, now: datetime) -> None:
    """Forget what was held against the endpoint."""
    endpoint = _locked(delivery).first()
    if endpoint is None or (endpoint.failures == 0 and endpoint.disabled_at is None):
        return
    if endpoint.disabled_at is not None:
        audit(
            "webhooks.endpoint.enabled",
            actor=SYSTEM,
            subject=endpoint.ref,
            account_id=endpoint.account_id,
            data={"because": "it took a delivery that was asked for by hand"},
            now=now,
        )
        endpoint.disabled_at = None
    _save(endpoint, Health(), outcome=None, now=now)


def _note_failure(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    endpoint = _row(delivery, now)
    health = Health(failures=endpoint.failures, trips=endpoint.trips, paused_until=endpoint.paused_until)
    changed = after_failure(health, now=now, pauses=Pauses(*settings.WEBHOOK_PAUSE_S))
    if changed.trips > health.trips:
        log.warning("webhooks to %s pause until %s", _host(endpoint.address), changed.paused_until)
    _save(endpoint, changed, outcome, now)


def _disable(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    """Nothing more is sent there, until a test or a replay that is asked for by hand succeeds."""
    endpoint = _row(delivery, now)
    if endpoint.disabled_at is None:
        endpoint.disabled_at = now
        audit(
            "webhooks.endpoint.disabled",
            actor=SYSTEM,
            subject=endpoint.ref,
            account_id=endpoint.account_id,
            data={"because": "it answered 410"},
            now=now,
        )
    _save(endpoint, Health(failures=endpoint.failures + 1, trips=endpoint.trips), outcome, now)


def _row(delivery: Delivery, now: datetime) -> Endpoint:
    """The endpoint's row, made if there is none, locked."""
    Endpoint.objects.bulk_create(
        [Endpoint(account_id=delivery.account_id, address=delivery.address, updated_at=now)],
        ignore_conflicts=True,
    )
    return _locked(delivery).get()


def _locked(delivery: Delivery) -> QuerySet[Endpoint]:
    return Endpoint.objects.select_for_update().filter(
        account_id=delivery.account_id, address=delivery.address
    )


def _save(endpoint: Endpoint, health: Health, outcome: Outcome | None, now: datetime) -> None:
    endpoint.failures = health.failures
    endpoint.trips = health.trips
    endpoint.paused_until = health.paused_until
    endpoint.last_error = outcome.error if outcome else ""
    endpoint.updated_at = now
    endpoint.save()


def _host(address: str) -> str:
    """Without the path, which is often a secret."""
    return "/".join(address.split("/")[:3])
