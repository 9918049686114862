"""What is counted of attempts at webhooks, in memory."""

from __future__ import annotations

from typing import Final

from apps.core.counters import counter, histogram, tally
from apps.webhooks.sending import Outcome

ATTEMPTS: Final = counter(
    "darkroom_webhook_attempts_total", "Attempts at webhooks, by what became of them.", "outcome"
)
DURATION: Final = histogram(
    "darkroom_webhook_attempt_duration_seconds",
    "What attempts at webhooks took.",
    bounds=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
WEBHOOK_SERIES: Final = (ATTEMPTS, DURATION)


def count_attempt(outcome: Outcome) -> None:
    """Delivered, refused by an answer, or not answered at all."""
    ended = "delivered" if outcome.is_delivered else "refused" if outcome.status else "unanswered"
    tally.count(ATTEMPTS, ended)
    tally.observe(DURATION, outcome.duration_ms / 1000)
