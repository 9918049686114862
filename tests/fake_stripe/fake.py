"""The fake as a whole: its parts, the clock that drives them, and what a test asks of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fake_stripe.clock import DAY_S, HOUR_S, Clock, Due
from tests.fake_stripe.disputes import charge_of, decide, open_dispute
from tests.fake_stripe.errors import Refusal
from tests.fake_stripe.faults import Fault, FaultKind, Faults
from tests.fake_stripe.idempotency import Idempotency
from tests.fake_stripe.store import Obj, Store
from tests.fake_stripe.webhooks import Send, SignedWebhook, Webhooks, post

NOON_2_MARCH_2026 = 1_772_452_800
"""12:00 UTC, where the frozen clock of our tests begins."""


@dataclass(slots=True, kw_only=True)
class Settings:
    """What an account decides in Stripe's dashboard."""

    tax_percent: int = 19
    retry_days: tuple[int, ...] = (3, 5, 7)
    """Days between attempts at an unpaid invoice of a subscription."""
    after_retries: str = "cancel"
    """When they are used up: `cancel`, `unpaid` or `past_due`."""
    portal_downgrades_later: bool = True
    """Whether a cheaper plan chosen on the portal page waits for the end of the period."""
    meter_lag_s: int = 60
    """How long the sums of meters lag behind the events."""


@dataclass(slots=True, kw_only=True)
class Fake:
    clock: Clock
    secret_key: str = "sk_test_fake"
    webhook_secret: str = "whsec_fake"
    url: str = ""
    """Where the server listens; set when it starts."""
    settings: Settings = field(default_factory=Settings)
    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)
    idempotency: Idempotency = field(default_factory=Idempotency)
    webhooks: Webhooks = field(init=False)
    lock: threading.RLock = field(default_factory=threading.RLock)
    """One request at a time, as one transaction after another."""
    due_sources: list[Callable[[Fake], Iterable[Due]]] = field(default_factory=list)
    when_intent_changes: list[Callable[[Fake, Obj], None]] = field(default_factory=list)
    """Told of payment intents that succeeded or failed: invoices and checkout wait for them."""
    when_invoice_changes: list[Callable[[Fake, Obj], None]] = field(default_factory=list)
    """Told of invoices that were paid, failed or were voided: subscriptions follow them."""
    when_customer_goes: list[Callable[[Fake, Obj], None]] = field(default_factory=list)
    """Told before a customer is deleted: subscriptions end."""
    log: list[str] = field(default_factory=list)
    """`METHOD path` of every API request."""
    request_id: str | None = None
    request_key: str | None = None

    def __post_init__(self) -> None:
        self.webhooks = Webhooks(self.webhook_secret)
        self.webhooks.listen_with(lambda: self.store.every("webhook_endpoint"))

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """A refusal inside leaves no trace: neither objects nor events."""
        snapshot, mark = self.store.snapshot(), self.webhooks.mark()
        try:
            yield
        except Refusal:
            self.store.restore(snapshot)
            self.webhooks.forget_since(mark)
            raise

    # -- time

    def advance(self, *, days: float = 0, hours: float = 0, seconds: int = 0) -> int:
        """Move the clock; what falls due on the way happens at its own time, in order. Returns the time."""
        return self.advance_to(self.clock.now() + int(days * DAY_S + hours * HOUR_S) + seconds)

    def advance_to(self, at: int) -> int:
        with self.lock:
            self.request_id = self.request_key = None
            while due := self._next_due(at):
                self.clock.move_to(due.at)
                due.run()
            self.clock.move_to(at)
            return self.clock.now()

    def _next_due(self, until: int) -> Due | None:
        dues = [due for source in self.due_sources for due in source(self) if due.at <= until]
        return min(dues, key=lambda due: (due.at, due.order), default=None)

    # -- what cardholders and banks do

    def dispute(self, object_id: str, *, reason: str = "fraudulent") -> Obj:
        """Of a payment intent, a charge or an invoice."""
        with self.lock:
            return open_dispute(self, charge_of(self, object_id), reason=reason)

    def close_dispute(self, dispute_id: str, *, won: bool) -> Obj:
        with self.lock:
            return decide(self, self.store.get("dispute", dispute_id), is_won=won)

    # -- faults and webhooks

    def fail_next(self, kind: FaultKind, *, method: str = "", path: str = "", times: int = 1) -> Fault:
        fault = Fault(kind=kind, method=method, path=path, times=times)
        self.faults.planned.append(fault)
        return fault

    def take_webhooks(self) -> list[SignedWebhook]:
        with self.lock:
            return self.webhooks.take()

    def deliver(self, send: Send = post, **how: Any) -> dict[str, int]:
        """See Webhooks.deliver; without `send`, by HTTP to the registered endpoints.

        The lock is not held: whoever receives a webhook asks back.
        """
        return self.webhooks.deliver(send, now=self.clock.now(), **how)
