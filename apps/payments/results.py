"""What services of payments answer with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where to send the customer's browser."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsState:
    """What pages say about payments."""

    is_configured: bool
    """Whether there is a key; without one, pages hide what needs it and say so."""
    is_live: bool
    """Whether real money moves."""
    is_tax_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """What became of a wish to have another plan."""

    is_now: bool
    """An upgrade is at once; a downgrade waits for the end of the period."""
    effective_at: datetime
