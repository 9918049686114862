"""What moves a tenant's money. Amounts are micro-dollars, above zero unless said; keys make each happen once.

All are parts (the caller's transaction) but `expire_grants`. The same key with the same content again
writes nothing; with other content it raises KeyReused. What a key may say is in `Posting.asks`.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.audit.refs import SYSTEM, Ref
from apps.billing.choices import LEDGER_SOURCES, Source
from apps.billing.ledger.booking import book, require_positive
from apps.billing.ledger.choices import EntryName, HoldState, Place
from apps.billing.ledger.errors import InsufficientFunds
from apps.billing.ledger.grants import expired_promos, find_grant, open_promo, take_back
from apps.billing.ledger.holds import (
    end_hold,
    hold_in_promo,
    hold_in_wallet,
    hold_on_account,
    is_held,
    lines_of_end,
)
from apps.billing.ledger.payments import (
    bill_receivable as bill_receivable,
)
from apps.billing.ledger.payments import (
    dispute as dispute,
)
from apps.billing.ledger.payments import (
    dispute_fee as dispute_fee,
)
from apps.billing.ledger.payments import (
    dispute_won as dispute_won,
)
from apps.billing.ledger.payments import (
    pay_receivable as pay_receivable,
)
from apps.billing.ledger.payments import (
    receive_payment as receive_payment,
)
from apps.billing.ledger.payments import (
    refund_payment as refund_payment,
)
from apps.billing.ledger.payments import (
    unbill_receivable as unbill_receivable,
)
from apps.billing.ledger.posting import Posting, post
from apps.core.db import require_transaction


def hold(*, account_id: int, job_id: int, source: Source, amount_micro: int, now: datetime) -> None:
    """Set aside what a job's images will cost at most; a part. `source` is one of LEDGER_SOURCES.

    Raises InsufficientFunds, after which nothing is written and another source may be tried; KeyReused.
    """
    require_transaction()
    require_positive(amount_micro)
    if source not in LEDGER_SOURCES:
        raise ValueError(f"{source} moves no money")
    begin = {Source.WALLET: hold_in_wallet, Source.PROMO: hold_in_promo, Source.PAYG: hold_on_account}[source]
    try:
        begin(account_id=account_id, job_id=job_id, amount_micro=amount_micro, now=now)
    except InsufficientFunds:
        # Told again, when what it took then is not there a second time.
        if not is_held(account_id=account_id, job_id=job_id, source=source, amount_micro=amount_micro):
            raise


def capture(*, job_id: int, amount_micro: int, now: datetime) -> None:
    """Earn `amount_micro` of what is held for the job and give the rest back; a part. Zero earns nothing.

    Raises HoldMissing, HoldEnded, CaptureExceedsHold.
    """
    require_transaction()
    if amount_micro < 0:
        raise ValueError(f"an amount to capture cannot be {amount_micro}")
    _end(job_id, HoldState.CAPTURED, name=EntryName.CAPTURE, captured_micro=amount_micro, now=now)


def release(*, job_id: int, now: datetime) -> None:
    """Give back all that is held for the job; a part. Raises HoldMissing, HoldEnded."""
    require_transaction()
    _end(job_id, HoldState.RELEASED, name=EntryName.RELEASE, captured_micro=0, now=now)


def _end(job_id: int, state: HoldState, *, name: EntryName, captured_micro: int, now: datetime) -> None:
    held = end_hold(job_id=job_id, state=state, captured_micro=captured_micro, now=now)
    if held is None:
        return
    lines = lines_of_end(held, captured_micro=captured_micro)
    if not any(line.amount_micro for line in lines):
        # Pay as you go, and nothing delivered: no money has moved, and none has to move back.
        return
    posting = Posting(
        name=name,
        key=f"{name}:job:{job_id}",
        account_id=held.account_id,
        job_id=job_id,
        amount_micro=captured_micro if state == HoldState.CAPTURED else held.amount_micro,
        terms=held.source.value,
        lines=lines,
        now=now,
    )
    post(posting, taken_from=Place.HELD.label)


def top_up(
    *, account_id: int, amount_micro: int, key: str, memo: str, now: datetime, actor: Ref = SYSTEM
) -> bool:
    """Money came in for the wallet; False if that was booked before; a part."""
    require_positive(amount_micro)
    return book(
        EntryName.TOP_UP,
        {Place.CASH: -amount_micro, Place.WALLET: amount_micro},
        account_id=account_id,
        amount_micro=amount_micro,
        key=key,
        memo=memo,
        actor=actor,
        now=now,
    )


def refund_top_up(*, account_id: int, amount_micro: int, key: str, memo: str, now: datetime) -> None:
    """Money of the wallet was paid back; a part. Raises InsufficientFunds: what is spent stays spent."""
    require_positive(amount_micro)
    book(
        EntryName.TOP_UP_REFUNDED,
        {Place.WALLET: -amount_micro, Place.CASH: amount_micro},
        account_id=account_id,
        amount_micro=amount_micro,
        key=key,
        memo=memo,
        now=now,
    )


def adjust(*, account_id: int, amount_micro: int, key: str, memo: str, actor: Ref, now: datetime) -> bool:
    """Correct the wallet by hand, up or down; False if that was done before; a part.

    Raises InsufficientFunds.
    """
    if amount_micro == 0:
        raise ValueError("an adjustment cannot be zero")
    return book(
        EntryName.ADJUSTMENT,
        {Place.WALLET: amount_micro, Place.REFUNDS: -amount_micro},
        account_id=account_id,
        amount_micro=amount_micro,
        key=key,
        memo=memo,
        actor=actor,
        now=now,
    )


def grant(
    *,
    account_id: int,
    amount_micro: int,
    expires_at: datetime | None,
    key: str,
    memo: str,
    actor: Ref,
    now: datetime,
) -> bool:
    """Give promotional credit that pays until `expires_at`, or for ever; False if given before; a part.

    Raises KeyReused, and ValueError if it has expired already.
    """
    require_transaction()
    require_positive(amount_micro)
    terms = "never expires" if expires_at is None else f"expires {expires_at.isoformat()}"
    if find_grant(key=key, account_id=account_id, amount_micro=amount_micro, terms=terms):
        return False
    if expires_at is not None and expires_at <= now:
        raise ValueError(f"credit that expires at {expires_at} has expired already")
    return book(
        EntryName.GRANT,
        {Place.GRANTS: -amount_micro, Place.PROMO: amount_micro},
        account_id=account_id,
        amount_micro=amount_micro,
        terms=terms,
        key=key,
        memo=memo,
        actor=actor,
        now=now,
        promo_id=open_promo(account_id=account_id, key=key, expires_at=expires_at),
    )


def expire_grants(now: datetime) -> int:
    """Take back what is left of expired credit; returns of how many grants. An act for each of them.

    What open jobs hold of it is left alone; if it comes back, the next run takes it.
    """
    taken = 0
    for promo_id, account_id in expired_promos(now).values_list("pk", "account_id"):
        assert account_id is not None  # a constraint of the table
        with transaction.atomic(durable=True):
            taken += take_back(promo_id, account_id=account_id, now=now)
    return taken
