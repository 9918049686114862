"""Messages from Stripe: kept as they came, believed when the signature fits, handled until it has worked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import IntegrityError, transaction

from apps.audit import services as audit
from apps.audit.refs import SYSTEM, Ref
from apps.payments.choices import EventState
from apps.payments.connection import open_api, require_config
from apps.payments.errors import EventRefused, PaymentsNotConfigured
from apps.payments.events import Message, peek, read_message
from apps.payments.handlers import handle
from apps.payments.mailing import tell_operators
from apps.payments.models import StripeEvent
from apps.payments.stripe_api import StripeConfig, verify_signature

MAX_BYTES: Final = 512_000
"""More than any event of Stripe's has."""
KEPT_OF_REFUSED: Final = 4096
HEADER_CHARS: Final = 2000
AUDITED_PER_HOUR: Final = 60
"""Refusals; anybody can post here, and the audit log is for ever."""
BACK_OFF: Final = tuple(
    timedelta(seconds=each) for each in (10, 30, 60, 300, 900, 3600, 3600, 14_400, 14_400, 43_200)
)
MAX_ATTEMPTS: Final = len(BACK_OFF)
BATCH: Final = 200
KEEP_HANDLED: Final = timedelta(days=90)
KEEP_REFUSED: Final = timedelta(days=7)
MAX_REFUSED: Final = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What Stripe is answered."""

    status: int
    text: str


def receive(*, body: bytes, signature: str, now: datetime) -> Receipt:
    """Keep a message, and handle it if it is genuine and new.

    What cannot be handled now is handled later, by us: Stripe is thanked all the same.
    """
    try:
        config = require_config()
    except PaymentsNotConfigured:
        return Receipt(status=503, text="payments are not set up here")
    if not config.webhook_secret:
        return Receipt(status=503, text="there is no webhook secret to verify this with")
    event_id, kind = peek(body)
    event = StripeEvent.objects.create(
        event_id=event_id,
        type=kind,
        body=body,
        signature=signature[:HEADER_CHARS].replace("\0", ""),
        received_at=now,
    )
    try:
        message = _believe(event, config, body=body, signature=signature, now=now)
    except EventRefused as refusal:
        _refuse(event, str(refusal), now=now)
        return Receipt(status=400, text=str(refusal))
    if message is None:
        return Receipt(status=200, text="received before")
    handle_event(event, now=now)
    return Receipt(status=200, text="received")


def refuse_oversized(*, size: int, now: datetime) -> Receipt:
    """Something larger than any event: nothing of it is kept but that it came."""
    event = StripeEvent.objects.create(body=b"", received_at=now)
    _refuse(event, f"The message was refused: it has {size} bytes, more than {MAX_BYTES}.", now=now)
    return Receipt(status=413, text="too large for an event")


def _believe(
    event: StripeEvent, config: StripeConfig, *, body: bytes, signature: str, now: datetime
) -> Message | None:
    """The message, marked as genuine; None for one that came before. Raises EventRefused."""
    verify_signature(body=body, header=signature, secret=config.webhook_secret, now=now)
    message = read_message(body)
    if message.is_live != config.is_live:
        ours, theirs = ("live", "test") if config.is_live else ("test", "live")
        raise EventRefused(reason=f"it is of {theirs} mode, and this installation is in {ours} mode.")
    try:
        with transaction.atomic(durable=True):
            StripeEvent.objects.filter(pk=event.pk).update(
                is_genuine=True,
                state=EventState.WAITING,
                event_id=message.event_id,
                object_id=message.object_id,
                due_at=now,
            )
    except IntegrityError:
        StripeEvent.objects.filter(pk=event.pk).delete()
        return None
    event.refresh_from_db()
    return message


def _refuse(event: StripeEvent, reason: str, *, now: datetime) -> None:
    hour = now - timedelta(hours=1)
    with transaction.atomic(durable=True):
        recent = StripeEvent.objects.filter(state=EventState.REFUSED, received_at__gte=hour).count()
        event.state, event.note, event.body = EventState.REFUSED, reason[:300], event.body[:KEPT_OF_REFUSED]
        event.save(update_fields=["state", "note", "body"])
        if recent < AUDITED_PER_HOUR:
            audit.record(
                "payments.event.refused", actor=SYSTEM, subject=event.ref, data={"reason": reason}, now=now
            )


def handle_event(event: StripeEvent, *, now: datetime) -> bool:
    """Try once; whether it worked. Two at once are one: the second finds the attempt taken."""
    wait = BACK_OFF[min(event.attempts, MAX_ATTEMPTS - 1)]
    mine = StripeEvent.objects.filter(pk=event.pk, state=EventState.WAITING, attempts=event.attempts)
    if mine.update(attempts=event.attempts + 1, due_at=now + wait) != 1:
        return False
    event.attempts += 1
    try:
        note = handle(open_api(), read_message(bytes(event.body)), now=now)
    except Exception as error:
        # The edge of a task: whatever it is, the row says so, and it is tried again.
        log.exception("Stripe's event %s failed at attempt %s", event.event_id, event.attempts)
        _note_failure(event, f"{type(error).__name__}: {error}", now=now)
        return False
    state = EventState.IGNORED if note else EventState.HANDLED
    StripeEvent.objects.filter(pk=event.pk, state=EventState.WAITING).update(
        state=state, note=note, handled_at=now, due_at=None
    )
    return True


def _note_failure(event: StripeEvent, error: str, *, now: datetime) -> None:
    rows = StripeEvent.objects.filter(pk=event.pk, state=EventState.WAITING)
    if event.attempts < MAX_ATTEMPTS:
        rows.update(note=error[:300])
        return
    with transaction.atomic(durable=True):
        rows.update(note=error[:300], state=EventState.FAILED, due_at=None)
        tell_operators(
            template="payments_event_failed",
            context={"event": str(event), "error": error},
            key=f"event-failed:{event.pk}",
            now=now,
        )


def handle_due_events(*, now: datetime) -> int:
    """Try again what is due; how many worked."""
    due = StripeEvent.objects.filter(state=EventState.WAITING, due_at__lte=now).order_by("due_at")
    return sum(handle_event(event, now=now) for event in due[:BATCH])


def handle_again(*, event: StripeEvent, actor: Ref, now: datetime) -> bool:
    """An operator has it tried again, whatever became of it; whether it worked. Raises EventRefused."""
    if not event.is_genuine:
        raise EventRefused(reason="it is not from Stripe.")
    with transaction.atomic(durable=True):
        StripeEvent.objects.filter(pk=event.pk).update(state=EventState.WAITING, attempts=0, due_at=now)
        audit.record("payments.event.replayed", actor=actor, subject=event.ref, now=now)
    event.refresh_from_db()
    return handle_event(event, now=now)


def prune_events(*, now: datetime) -> int:
    """Forget messages that were dealt with long ago, and all but the newest of those that were refused."""
    old = StripeEvent.objects.filter(
        state__in=[EventState.HANDLED, EventState.IGNORED], received_at__lt=now - KEEP_HANDLED
    )
    count = old.delete()[0]
    # Also what was cut off between being kept and being believed.
    doubtful = StripeEvent.objects.filter(is_genuine=False)
    count += doubtful.filter(received_at__lt=now - KEEP_REFUSED).delete()[0]
    newest = list(doubtful.order_by("-pk").values_list("pk", flat=True)[MAX_REFUSED : MAX_REFUSED + 1])
    if newest:
        count += doubtful.filter(pk__lte=newest[0]).delete()[0]
    return count
