"""Refusals and faults of the ledger."""

from __future__ import annotations

from apps.billing.money import format_usd
from apps.core.errors import DomainError


class InsufficientFunds(DomainError):
    """Less is there than was to be taken; nothing was taken."""

    code = "insufficient_funds"
    http_status = 402
    message = "There is less than {amount} in the account's {place}; nothing was taken."

    def __init__(self, *, amount_micro: int, place: str) -> None:
        super().__init__(amount=format_usd(amount_micro), place=place)
        self.amount_micro = amount_micro


class KeyReused(DomainError):
    """The key belongs to another entry: the same key means the same money, once."""

    code = "ledger_key_reused"
    http_status = 409
    message = "The ledger entry {key} already says something else; nothing was booked."

    def __init__(self, *, key: str) -> None:
        super().__init__(key=key)


class HoldMissing(RuntimeError):
    """A job was to be captured or released for which nothing is held."""


class HoldEnded(RuntimeError):
    """A hold was to end twice, in two different ways."""


class CaptureExceedsHold(RuntimeError):
    """More was to be captured than is held: the price at the end is above that at the start."""
