"""Answers remembered by Idempotency-Key, for a day of the fake's clock."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from typing import Any

from tests.fake_stripe.clock import DAY_S
from tests.fake_stripe.errors import Refusal

MEMORY_S = DAY_S


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any]


@dataclass(slots=True)
class _Entry:
    fingerprint: str
    at: int
    answer: Answer | None = None
    """None while the first request is under way."""


class Idempotency:
    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def begin(self, key: str, *, request: str, now: int) -> Answer | None:
        """The remembered answer, or None: go on and call `end`. Raises as Stripe for a key used otherwise."""
        fingerprint = hashlib.sha256(request.encode()).hexdigest()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or (entry.answer is not None and now - entry.at >= MEMORY_S):
                self._entries[key] = _Entry(fingerprint, now)
                return None
            if entry.fingerprint != fingerprint:
                raise Refusal(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they were first"
                    f" used with. Try using a key other than '{key}' if you meant to execute a"
                    " different request.",
                    kind="idempotency_error",
                )
            if entry.answer is None:
                raise Refusal(
                    409,
                    "There is currently another in-progress request using this Idempotent Key.",
                    kind="idempotency_error",
                    code="idempotency_key_in_use",
                )
            return Answer(entry.answer.status, json.loads(json.dumps(entry.answer.body)))

    def end(self, key: str, answer: Answer) -> None:
        """Requests refused before they began (their form, the rate, the fault) may be sent again."""
        with self._lock:
            if answer.status < 300 or answer.status == 402:
                self._entries[key].answer = Answer(answer.status, json.loads(json.dumps(answer.body)))
            else:
                self._entries.pop(key, None)
