"""Refusals and faults of prices and funding; those of the ledger are its own."""

from __future__ import annotations

from apps.billing.money import format_usd
from apps.core.errors import DomainError


class PaymentRequired(DomainError):
    """Nothing pays for the call: no calls are included or free any more, and there is no money."""

    code = "payment_required"
    http_status = 402
    message = "Insufficient credits: this request costs {price}. Top up your wallet or upgrade your plan."

    def __init__(self, *, price_micro: int) -> None:
        super().__init__(price=format_usd(price_micro))
        self.price_micro = price_micro


class PriceBookMissing(DomainError):
    """Calls are to cost money and nobody has said how much: an omission of the operator, not of a caller."""

    code = "price_book_missing"
    http_status = 503
    message = (
        "There are no prices yet, so that nothing is accepted: the operator has to run manage.py bootstrap."
    )
