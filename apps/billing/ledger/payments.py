"""Money that does not pass through the wallet: invoices for usage, payments for plans, and disputes.

Stripe's webhooks and the operator who ticks off a bank transfer end in the same parts.
"""

from __future__ import annotations

from datetime import datetime

from apps.audit.refs import Ref
from apps.billing.ledger.booking import book, require_positive
from apps.billing.ledger.choices import DEBT_PLACES, EntryName, Place
from apps.billing.ledger.models import LedgerAccount
from apps.billing.ledger.posting import lock_account


def bill_receivable(
    *,
    account_id: int,
    amount_micro: int,
    key: str,
    now: datetime,
    fees_micro: int = 0,
    tax_micro: int = 0,
    rounding_micro: int = 0,
    memo: str = "",
) -> None:
    """Delivered usage is on an invoice now; a part. Raises InsufficientFunds if it exceeds what is unbilled.

    The invoice asks for `amount_micro + fees_micro + rounding_micro + tax_micro`; rounding may be negative.
    Fees of plans are earned by this entry: nothing was on account for them.
    """
    parts = (amount_micro, fees_micro, tax_micro, rounding_micro)
    _bill(EntryName.INVOICED, 1, account_id, parts, key, memo, now)


def unbill_receivable(
    *,
    account_id: int,
    amount_micro: int,
    key: str,
    now: datetime,
    fees_micro: int = 0,
    tax_micro: int = 0,
    rounding_micro: int = 0,
    memo: str = "",
) -> None:
    """An invoice was taken back, so that its usage waits for another; a part.

    Raises InsufficientFunds if less than that is still unpaid.
    """
    parts = (amount_micro, fees_micro, tax_micro, rounding_micro)
    _bill(EntryName.INVOICE_VOIDED, -1, account_id, parts, key, memo, now)


def _bill(
    name: EntryName,
    sign: int,
    account_id: int,
    parts: tuple[int, int, int, int],
    key: str,
    memo: str,
    now: datetime,
) -> None:
    usage_micro, fees_micro, tax_micro, rounding_micro = parts
    require_positive(usage_micro + fees_micro)
    moves = {
        Place.RECEIVABLE: usage_micro,
        Place.REVENUE: fees_micro,
        Place.INVOICED: -sum(parts),
        Place.TAX: tax_micro,
        Place.ROUNDING: rounding_micro,
    }
    book(
        name,
        {place: sign * micro for place, micro in moves.items()},
        account_id=account_id,
        amount_micro=usage_micro + fees_micro,
        # Invoices of usage alone read as they did before there were fees: their keys stay good.
        terms=f"tax_micro={tax_micro} rounding_micro={rounding_micro}"
        + (f" fees_micro={fees_micro}" if fees_micro else ""),
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
    *, account_id: int, amount_micro: int, key: str, memo: str, now: datetime, of_top_up: bool = True
) -> None:
    """The bank took a payment back; a part. Never refused: it has happened.

    Of a top-up, the wallet gives what it still has, and what was spent is owed in a place of its own: no
    invoice asks for it, and usage that is owed is another matter. Any other payment is a loss of ours.
    """
    require_positive(amount_micro)
    lock_account(account_id)
    from_wallet = min(amount_micro, _balance(account_id, Place.WALLET)) if of_top_up else 0
    owed = amount_micro - from_wallet if of_top_up else 0
    book(
        EntryName.DISPUTE,
        {
            Place.WALLET: -from_wallet,
            Place.DISPUTED: -owed,
            Place.REFUNDS: -(amount_micro - from_wallet - owed),
            Place.CASH: amount_micro,
        },
        account_id=account_id,
        amount_micro=amount_micro,
        terms=f"of_top_up={of_top_up}",
        key=key,
        memo=memo,
        now=now,
    )


def dispute_won(
    *, account_id: int, amount_micro: int, key: str, memo: str, now: datetime, of_top_up: bool = True
) -> None:
    """The bank gave a disputed payment back; a part.

    What is owed of disputed money is less by it, whichever of several disputes took what: so the end does
    not depend on the order in which we hear of them. The rest is in the wallet again.
    """
    require_positive(amount_micro)
    lock_account(account_id)
    owed = min(amount_micro, -_balance(account_id, Place.DISPUTED)) if of_top_up else 0
    to_wallet = amount_micro - owed if of_top_up else 0
    book(
        EntryName.DISPUTE_WON,
        {
            Place.CASH: -amount_micro,
            Place.DISPUTED: owed,
            Place.WALLET: to_wallet,
            Place.REFUNDS: amount_micro - owed - to_wallet,
        },
        account_id=account_id,
        amount_micro=amount_micro,
        terms=f"of_top_up={of_top_up}",
        key=key,
        memo=memo,
        now=now,
    )


def dispute_fee(*, account_id: int, fee_micro: int, key: str, memo: str, now: datetime) -> None:
    """What the provider took for a dispute, or gave back of it (below zero); a part. An expense of ours."""
    if fee_micro == 0:
        raise ValueError("a fee cannot be zero")
    book(
        EntryName.DISPUTE_FEE,
        {Place.FEES: -fee_micro, Place.CASH: fee_micro},
        account_id=account_id,
        amount_micro=fee_micro,
        key=key,
        memo=memo,
        now=now,
    )


def take_out_test_money(
    *,
    account_id: int,
    top_ups_micro: int,
    has_debts: bool,
    key: str,
    memo: str,
    actor: Ref,
    now: datetime,
) -> tuple[int, int]:
    """Nothing that was bought or is owed in the provider's test mode counts any more; a part.

    Takes out of the wallet what it still has of `top_ups_micro` and, if `has_debts` of that mode, forgets
    what is delivered on account, invoiced or disputed and not paid. Returns both amounts.
    """
    lock_account(account_id)
    from_wallet = max(0, min(top_ups_micro, _balance(account_id, Place.WALLET)))
    debts = {place: -_balance(account_id, place) for place in DEBT_PLACES if has_debts}
    forgiven = sum(debts.values())
    if from_wallet or forgiven:
        book(
            EntryName.TEST_MODE,
            {Place.WALLET: -from_wallet, **debts, Place.REFUNDS: from_wallet - forgiven},
            account_id=account_id,
            amount_micro=from_wallet + forgiven,
            key=key,
            memo=memo,
            actor=actor,
            now=now,
        )
    return from_wallet, forgiven


def _balance(account_id: int, place: Place) -> int:
    """What one place has; it stays as it is for whoever has locked the account. Places open when needed."""
    rows = LedgerAccount.objects.filter(account_id=account_id, kind=place)
    return rows.values_list("balance_micro", flat=True).first() or 0
