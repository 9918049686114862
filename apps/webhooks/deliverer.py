"""The loop that sends what is due. One session of it takes turns; it runs as a task of housekeeping.

A session that ends its turn, because a task may not last for ever, hands over at once and then waits for its
own last answers only: a receiver that hangs holds up nobody else. Rows are touched by one thread; the others
speak HTTP alone. What a killed session had under way is due again as soon as the next one looks: each
session holds an advisory lock of its own for as long as it lives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

from django.conf import settings
from django.db.models import Min

from apps.core.clock import now
from apps.core.flushing import flush_now
from apps.core.ids import random_token
from apps.core.listen import Listener
from apps.core.logging import working_for
from apps.webhooks.bodies import Event, render_body
from apps.webhooks.choices import DeliveryState
from apps.webhooks.claiming import claim_due, list_deliverers, release
from apps.webhooks.counting import count_attempt
from apps.webhooks.doorbell import CHANNEL, TURN_LOCK, ring
from apps.webhooks.models import Delivery
from apps.webhooks.recording import Tried, record_attempts
from apps.webhooks.secrets import signing_secrets
from apps.webhooks.sending import Letter, Outcome, send, unsendable

log = logging.getLogger(__name__)

Send = Callable[[Letter], Outcome]

# How long a turn lasts at most. With the longest attempt behind it, it ends before q2's own limit.
TURN_S: Final = 200.0
# A session with nothing to do stays this long for what may come.
LINGER_S: Final = 2.0
# It stays for what is due so soon, and leaves what is due later to the schedule.
NEAR_S: Final = 30.0
# How long it waits for answers before it looks for new work: while there is some, and while there is none.
BUSY_POLL_S: Final = 0.02
CALM_POLL_S: Final = 0.2
# How much longer than an attempt may last a session waits for its last ones.
LAST_ANSWERS_S: Final = 10.0
# How often it looks for what dead sessions left, and hands over what it has counted.
ORPHANS_S: Final = 5.0
ROLE: Final = "housekeeping"


def run_deliverer(*, send: Send = send, turn_s: float = TURN_S, linger_s: float = LINGER_S) -> int:
    """Send what is due until nothing is, or until the turn is over; how many attempts were made.

    0 at once when somebody else has the turn. Raises ListenerLost and django.db.Error with the database away:
    what was under way is then due again.
    """
    name = random_token(12)
    with Listener([CHANNEL]) as listener:
        if not listener.try_lock(TURN_LOCK):
            return 0
        listener.try_lock(_lock_of(name))
        session = Session(name, listener=listener, send=send)
        try:
            session.take_turn(turn_s=turn_s, linger_s=linger_s)
            listener.unlock(TURN_LOCK)
            # What was committed after the last look: nobody rang for it while the turn was taken.
            if _next_due_s() == 0.0:
                ring()
            session.finish()
        finally:
            session.close()
    flush_now(ROLE)
    return session.attempts


def _lock_of(name: str) -> str:
    return f"webhooks.deliverer.{name}"


def _next_due_s() -> float | None:
    """Seconds until something is due, 0 for at once; None when nothing waits."""
    first = Delivery.objects.filter(state=DeliveryState.WAITING).aggregate(at=Min("due_at"))["at"]
    return None if first is None else max(0.0, (first - now()).total_seconds())


class Session:
    """One deliverer: what it has under way, and its threads."""

    def __init__(self, name: str, *, listener: Listener, send: Send) -> None:
        self.name = name
        self.attempts = 0
        self._listener = listener
        self._send = send
        self._threads = ThreadPoolExecutor(settings.WEBHOOK_PLACES, thread_name_prefix="webhook")
        self._under_way: dict[Future[Outcome], Delivery] = {}
        self._next_look_for_orphans = 0.0

    def take_turn(self, *, turn_s: float, linger_s: float) -> None:
        """Claim and send until the turn is over, or nothing is due soon."""
        ends = time.monotonic() + turn_s
        idle_since = time.monotonic()
        while time.monotonic() < ends:
            self._release_orphans()
            started = self._start_due()
            self._collect(BUSY_POLL_S if started else CALM_POLL_S)
            if self._under_way or started:
                idle_since = time.monotonic()
                continue
            due_s = _next_due_s()
            if due_s is None or due_s > NEAR_S:
                if time.monotonic() - idle_since > linger_s:
                    return
                due_s = linger_s
            self._listener.wait(min(max(due_s, BUSY_POLL_S), 1.0))

    def finish(self) -> None:
        """Wait for the last answers, though not for ever: a resolver may keep an attempt beyond its limit.

        What is still under way then is due again as soon as this session's lock is gone.
        """
        ends = time.monotonic() + settings.WEBHOOK_TIMEOUT_S + LAST_ANSWERS_S
        while self._under_way and time.monotonic() < ends:
            self._collect(CALM_POLL_S)

    def close(self) -> None:
        """Leave the threads to themselves: each ends with its attempt."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start_due(self) -> int:
        claimed = claim_due(deliverer=self.name, now=now())
        secrets = signing_secrets(account_ids={each.account_id for each in claimed}, now=now())
        for delivery in claimed:
            self._start(delivery, secrets)
        return len(claimed)

    def _start(self, delivery: Delivery, secrets: Mapping[int, list[bytes]]) -> None:
        body = _body(delivery)
        if body is None:
            outcome = unsendable("The message could not be written; the operator's log says why.")
            self.attempts += 1
            record_attempts([Tried(delivery=delivery, outcome=outcome)], now=now())
            return
        letter = Letter(
            event_id=delivery.event_id,
            url=delivery.url,
            body=body,
            secrets=tuple(secrets[delivery.account_id]),
            request_id=delivery.request_id,
        )
        self._under_way[self._threads.submit(self._try, letter)] = delivery

    def _try(self, letter: Letter) -> Outcome:
        """Edge of the threads: what nobody foresaw about one address must not end the turn for all others."""
        try:
            return self._send(letter)
        except Exception:
            log.exception("the attempt of delivery %s broke", letter.event_id)
            return unsendable("The attempt broke; the operator's log says why.")

    def _collect(self, timeout_s: float) -> None:
        """Record what has been answered; waits for the first, if anything is under way."""
        done = wait(self._under_way, timeout=timeout_s, return_when=FIRST_COMPLETED).done
        tried = [Tried(delivery=self._under_way.pop(each), outcome=each.result()) for each in done]
        self.attempts += len(tried)
        record_attempts(tried, now=now())
        for each in tried:
            _tell(each)

    def _release_orphans(self) -> None:
        """Take back what sessions had under way whose own lock nobody holds any more."""
        if time.monotonic() < self._next_look_for_orphans:
            return
        self._next_look_for_orphans = time.monotonic() + ORPHANS_S
        flush_now(ROLE)
        for name in list_deliverers():
            if name == self.name or not self._listener.try_lock(_lock_of(name)):
                continue
            count = release(deliverer=name)
            self._listener.unlock(_lock_of(name))
            log.warning("%d deliveries of a deliverer that died are due again", count)


def _tell(tried: Tried) -> None:
    """Count one attempt, and say in the log what became of it; the address may hold a secret."""
    outcome, delivery = tried.outcome, tried.delivery
    count_attempt(outcome)
    with working_for(request=delivery.request_id, job=delivery.job_id):
        log.info(
            "delivery %s of %s: %s in %d ms",
            delivery.event_id,
            delivery.event,
            outcome.error or "delivered",
            outcome.duration_ms,
            extra={
                "delivery": delivery.event_id,
                "attempt": delivery.attempts + 1,
                "status": outcome.status,
                "duration_ms": outcome.duration_ms,
            },
        )


def _body(delivery: Delivery) -> bytes | None:
    """The body, made and kept at the first attempt; None when it cannot be made.

    Once it has expired it is made for each attempt and kept no more: it then says that the images are gone.
    """
    if delivery.body is not None:
        return bytes(delivery.body)
    event = Event(
        event_id=delivery.event_id,
        name=delivery.event,
        job_id=delivery.job_id,
        created_at=delivery.created_at,
        import_id=delivery.import_id,
    )
    try:
        body = render_body(event, dialect=delivery.dialect)
    except Exception:
        # Edge of a dialect: one message that cannot be written must not stop all others.
        log.exception("the body of delivery %s cannot be made", delivery.event_id)
        return None
    if not delivery.is_forgotten and delivery.expires_at > now():
        Delivery.objects.filter(pk=delivery.pk, is_forgotten=False).update(body=body)
    return body
