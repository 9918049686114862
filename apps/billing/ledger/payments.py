"""Money that does not pass through the wallet: invoices for usage, payments for plans, and disputes.

Stripe's webhooks and the operator who ticks off a bank transfer end in the same parts.
"""

from __future__ import annotations

from datetime import datetime

from apps.billing.ledger.booking import book, require_positive
from apps.billing.ledger.choices import EntryName, Place
from apps.billing.ledger.models import LedgerAccount
from apps.billing.ledger.posting import lock_account


def bill_receivable(
    *,
    account_id: int,
    amount_micro: int,
    key: str,
    now: datetime,
    tax_micro: int = 0,
    rounding_micro: int = 0,
    memo: str = "",
) -> None:
    """Delivered usage is on an invoice now; a part. Raises InsufficientFunds if it exceeds what is unbilled.

    The invoice asks for `amount_micro + rounding_micro + tax_micro`; rounding may be negative.
    """
    _bill(EntryName.INVOICED, 1, account_id, (amount_micro, tax_micro, rounding_micro), key, memo, now)


def unbill_receivable(
    *,
    account_id: int,
    amount_micro: int,
    key: str,
    now: datetime,
    tax_micro: int = 0,
    rounding_micro: int = 0,
    memo: str = "",
) -> None:
    """An invoice was taken back, so that its usage waits for another; a part.

    Raises InsufficientFunds if less than that is still unpaid.
    """
    _bill(EntryName.INVOICE_VOIDED, -1, account_id, (amount_micro, tax_micro, rounding_micro), key, memo, now)


def _bill(
    name: EntryName,
    sign: int,
    account_id: int,
    parts: tuple[int, int, int],
    key: str,
    memo: str,
    now: datetime,
) -> None:
    amount_micro, tax_micro, rounding_micro = parts
    require_positive(amount_micro)
    moves = {
        Place.RECEIVABLE: amount_micro,
        Place.INVOICED: -sum(parts),
        Place.TAX: tax_micro,
        Place.ROUNDING: rounding_micro,
    }
    book(
        name,
        {place: sign * micro for place, micro in moves.items()},
        account_id=account_id,
        amount_micro=amount_micro,
        terms=f"tax_micro={tax_micro} rounding_micro={rounding_micro}",
        key=key,
        memo=memo,
        now=now,
    )


def pay_receivable(*, account_id: int, amount_micro: int, key: str, now: datetime, memo: str = "") -> None:
    """An invoice was paid, tax and all; a part. Raises InsufficientFunds if less than that is owed."""
    require_positive(amount_micro)
    book(
        EntryName.INVOICE_PAID,
        {Place.CASH: -amount_micro, Place.INVOICED: amount_micro},
        account_id=account_id,
        amount_micro=amount_micro,
        key=key,
        memo=memo,
        now=now,
    )


def receive_payment(
    *, account_id: int, net_micro: int, tax_micro: int, key: str, memo: str, now: datetime
) -> None:
    """A plan was paid for; a part."""
    require_positive(net_micro)
    book(
        EntryName.PAYMENT,
        {Place.CASH: -net_micro - tax_micro, Place.REVENUE: net_micro, Place.TAX: tax_micro},
        account_id=account_id,
        amount_micro=net_micro + tax_micro,
        terms=f"tax_micro={tax_micro}",
        key=key,
        memo=memo,
        now=now,
    )


def refund_payment(
    *, account_id: int, net_micro: int, tax_micro: int, key: str, memo: str, now: datetime
) -> None:
    """A payment for a plan was paid back, in part or whole; a part."""
    require_positive(net_micro)
    book(
        EntryName.PAYMENT_REFUNDED,
        {Place.CASH: net_micro + tax_micro, Place.REFUNDS: -net_micro, Place.TAX: -tax_micro},
        account_id=account_id,
        amount_micro=net_micro + tax_micro,
        terms=f"tax_micro={tax_micro}",
        key=key,
        memo=memo,
        now=now,
    )


def dispute(
    *,
    account_id: int,
    amount_micro: int,
    key: str,
    memo: str,
    now: datetime,
    fee_micro: int = 0,
    of_top_up: bool = True,
) -> None:
    """The bank took a payment back, and the provider perhaps a fee; a part. Never refused: it has happened.

    Of a top-up, the wallet gives what it still has and the account owes the rest; the payment for a plan
    is a loss of ours.
    """
    require_positive(amount_micro)
    lock_account(account_id)
    from_wallet = min(amount_micro, _balance(account_id, Place.WALLET)) if of_top_up else 0
    owed = amount_micro - from_wallet if of_top_up else 0
    book(
        EntryName.DISPUTE,
        {
            Place.WALLET: -from_wallet,
            Place.RECEIVABLE: -owed,
            Place.REFUNDS: -(amount_micro - from_wallet - owed),
            Place.FEES: -fee_micro,
            Place.CASH: amount_micro + fee_micro,
        },
        account_id=account_id,
        amount_micro=amount_micro,
        terms=f"fee_micro={fee_micro} of_top_up={of_top_up}",
        key=key,
        memo=memo,
        now=now,
    )


def dispute_won(
    *,
    account_id: int,
    amount_micro: int,
    key: str,
    memo: str,
    now: datetime,
    fee_micro: int = 0,
    of_top_up: bool = True,
) -> None:
    """The bank gave a disputed payment back, with `fee_micro` of fees; a part.

    It settles what the account owes of usage first; the rest is in the wallet again.
    """
    require_positive(amount_micro)
    lock_account(account_id)
    owed = min(amount_micro, -_balance(account_id, Place.RECEIVABLE)) if of_top_up else 0
    to_wallet = amount_micro - owed if of_top_up else 0
    book(
        EntryName.DISPUTE_WON,
        {
            Place.CASH: -(amount_micro + fee_micro),
            Place.FEES: fee_micro,
            Place.RECEIVABLE: owed,
            Place.WALLET: to_wallet,
            Place.REFUNDS: amount_micro - owed - to_wallet,
        },
        account_id=account_id,
        amount_micro=amount_micro,
        terms=f"fee_micro={fee_micro} of_top_up={of_top_up}",
        key=key,
        memo=memo,
        now=now,
    )


def _balance(account_id: int, place: Place) -> int:
    """What one place has; it stays as it is for whoever has locked the account."""
    return LedgerAccount.objects.get(account_id=account_id, kind=place).balance_micro or 0
