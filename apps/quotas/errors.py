"""Refusals and faults of the daily quota."""

from __future__ import annotations

from datetime import datetime

from apps.core.clock import seconds_until
from apps.core.errors import DomainError
from apps.core.money import format_dollars


class DailyQuotaExhausted(DomainError):
    """The day's calls are used up, those of open jobs included."""

    code = "daily_quota_exhausted"
    http_status = 429
    message = "The daily limit of {limit} calls is used up; it resets at {resets_at}."

    def __init__(self, *, limit: int, resets_at: datetime, now: datetime) -> None:
        super().__init__(
            limit=limit,
            resets_at=resets_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            retry_after_s=seconds_until(resets_at, now=now),
        )
        self.limit = limit
        self.resets_at = resets_at


class MonthlyQuotaExhausted(DomainError):
    """The calendar month's calls are used up, those of open jobs included."""

    code = "monthly_quota_exhausted"
    http_status = 429
    message = "The monthly limit of {limit} calls is used up; it resets at {resets_at}."

    def __init__(self, *, limit: int, resets_at: datetime, now: datetime) -> None:
        super().__init__(
            limit=limit,
            resets_at=resets_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            retry_after_s=seconds_until(resets_at, now=now),
        )
        self.limit = limit
        self.resets_at = resets_at


class BudgetExhausted(DomainError):
    """The call would cost more than a hard budget of the account or of the key has left this month."""

    code = "budget_exhausted"
    http_status = 402
    message = "The monthly budget of {limit} is used up; raise it, or wait until {resets_at}."

    def __init__(
        self, *, limit_micro: int, resets_at: datetime, now: datetime, budget_ids: tuple[int, ...] = ()
    ) -> None:
        super().__init__(
            limit=f"{format_dollars(limit_micro)} USD",
            resets_at=resets_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            retry_after_s=seconds_until(resets_at, now=now),
        )
        self.limit_micro = limit_micro
        self.resets_at = resets_at
        self.budget_ids = budget_ids
        """Those that refused: to be told of once the transaction is rolled back."""


class ReservationMissing(RuntimeError):
    """More was settled or released than is reserved: a job was ended twice, or not counted at all."""
