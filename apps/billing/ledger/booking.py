"""Entries that somebody may ask about later: each is written once, with its line in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM, Ref
from apps.audit.services import record
from apps.billing.ledger.choices import EntryName, Place
from apps.billing.ledger.posting import Line, Posting, post
from apps.core.db import require_transaction

# Holds and their ends are not among them: the audit log has the job's own events, and one is enough.
AUDITED = {
    EntryName.TOP_UP: "billing.wallet.topped_up",
    EntryName.TOP_UP_REFUNDED: "billing.wallet.paid_back",
    EntryName.ADJUSTMENT: "billing.wallet.adjusted",
    EntryName.GRANT: "billing.credit.granted",
    EntryName.GRANT_EXPIRED: "billing.credit.expired",
    EntryName.INVOICED: "billing.usage.invoiced",
    EntryName.INVOICE_VOIDED: "billing.usage.uninvoiced",
    EntryName.INVOICE_PAID: "billing.invoice.settled",
    EntryName.PAYMENT: "billing.payment.received",
    EntryName.PAYMENT_REFUNDED: "billing.payment.refunded",
    EntryName.DISPUTE: "billing.payment.disputed",
    EntryName.DISPUTE_WON: "billing.dispute.won",
    EntryName.DISPUTE_FEE: "billing.dispute.fee",
    EntryName.TEST_MODE: "billing.test_money.taken_out",
}


def require_positive(amount_micro: int) -> None:
    """Raises ValueError: amounts that people type are checked where they are read."""
    if amount_micro <= 0:
        raise ValueError(f"an amount must be above zero, not {amount_micro}")


def book(
    name: EntryName,
    moves: Mapping[Place, int],
    *,
    account_id: int,
    amount_micro: int,
    key: str,
    now: datetime,
    terms: str = "",
    memo: str = "",
    actor: Ref = SYSTEM,
    promo_id: int | None = None,
) -> bool:
    """Write an entry of `moves` and audit it; False if it was there before; a part.

    `promo_id` says which promotional credit is meant where `moves` has one.
    Raises InsufficientFunds, KeyReused.
    """
    require_transaction()
    lines = tuple(
        Line(place=place, amount_micro=micro, promo_id=promo_id if place == Place.PROMO else None)
        for place, micro in moves.items()
    )
    posting = Posting(
        name=name,
        key=key,
        account_id=account_id,
        amount_micro=amount_micro,
        terms=terms,
        memo=memo,
        lines=lines,
        now=now,
    )
    if not post(posting, taken_from=_taken_from(lines)).is_new:
        return False
    account = Account.objects.only("slug").get(pk=account_id)
    record(
        AUDITED[name],
        actor=actor,
        subject=account.ref,
        account_id=account_id,
        data={"key": key, "amount_micro": amount_micro, "memo": posting.memo},
        now=now,
    )
    return True


def _taken_from(lines: tuple[Line, ...]) -> str:
    """The tenant's place that may hold too little, for the message."""
    return next((line.place.label for line in lines if line.place.is_limited_by(line.amount_micro)), "ledger")
