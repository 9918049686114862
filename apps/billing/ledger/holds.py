"""How a hold begins and ends: the row that says so, beside the entries that move its money."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import F, Q, QuerySet

from apps.billing.choices import Source
from apps.billing.ledger.choices import EntryName, HoldState, Place
from apps.billing.ledger.errors import (
    CaptureExceedsHold,
    HoldEnded,
    HoldMissing,
    InsufficientFunds,
    KeyReused,
)
from apps.billing.ledger.models import Hold, LedgerAccount
from apps.billing.ledger.posting import Line, Posting, post

BEGIN = """
INSERT INTO billing_hold (job_id, account_id, source, promo_id, amount_micro, state, captured_micro, at)
VALUES (%s, %s, %s, %s, %s, 'open', 0, %s) ON CONFLICT (job_id) DO NOTHING
"""
END = """
UPDATE billing_hold SET state = %s, captured_micro = %s, ended_at = %s
 WHERE job_id = %s AND state = 'open' AND amount_micro >= %s
RETURNING account_id, source, promo_id, amount_micro
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was set aside for a job, and where it came from."""

    account_id: int
    source: Source
    promo_id: int | None
    amount_micro: int


def hold_key(job_id: int) -> str:
    return f"hold:job:{job_id}"


def hold_in_wallet(*, account_id: int, job_id: int, amount_micro: int, now: datetime) -> None:
    """Set wallet money aside. Raises InsufficientFunds, KeyReused."""
    line = Line(place=Place.WALLET, amount_micro=-amount_micro)
    _hold(line, source=Source.WALLET, account_id=account_id, job_id=job_id, now=now)


def hold_in_promo(*, account_id: int, job_id: int, amount_micro: int, now: datetime) -> None:
    """Set aside all of `amount_micro` of the credit that expires first among those that have as much.

    Raises InsufficientFunds, KeyReused.
    """
    for promo_id in promos_with(account_id, amount_micro, now=now).values_list("pk", flat=True):
        line = Line(place=Place.PROMO, amount_micro=-amount_micro, promo_id=promo_id)
        try:
            _hold(line, source=Source.PROMO, account_id=account_id, job_id=job_id, now=now)
        except InsufficientFunds:
            # Somebody was quicker; the next one may do.
            continue
        return
    raise InsufficientFunds(amount_micro=amount_micro, place=Place.PROMO.label)


def promos_with(account_id: int, amount_micro: int, *, now: datetime) -> QuerySet[LedgerAccount]:
    """Promotional credits that are valid and have this much, in the order in which they are used."""
    return LedgerAccount.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now),
        account_id=account_id,
        kind=Place.PROMO,
        balance_micro__gte=amount_micro,
    ).order_by(F("expires_at").asc(nulls_last=True), "pk")


def hold_on_account(*, account_id: int, job_id: int, amount_micro: int, now: datetime) -> None:
    """Pay as you go: nothing is owed before it is delivered, so that no money moves yet. Raises KeyReused."""
    held = Held(account_id=account_id, source=Source.PAYG, promo_id=None, amount_micro=amount_micro)
    if not _begin(job_id=job_id, held=held, now=now):
        is_held(account_id=account_id, job_id=job_id, source=Source.PAYG, amount_micro=amount_micro)


def is_held(*, account_id: int, job_id: int, source: Source, amount_micro: int) -> bool:
    """Whether exactly this is or was held for the job. Raises KeyReused if it is something else."""
    row = Hold.objects.filter(job_id=job_id).first()
    if row is None:
        return False
    if (row.account_id, row.source, row.amount_micro) != (account_id, source, amount_micro):
        raise KeyReused(key=hold_key(job_id))
    return True


def _hold(taken: Line, *, source: Source, account_id: int, job_id: int, now: datetime) -> None:
    posting = Posting(
        name=EntryName.HOLD,
        key=hold_key(job_id),
        account_id=account_id,
        job_id=job_id,
        amount_micro=-taken.amount_micro,
        terms=source.value,
        lines=(taken, Line(place=Place.HELD, amount_micro=-taken.amount_micro)),
        now=now,
    )
    if not post(posting, taken_from=taken.place.label).is_new:
        return
    held = Held(
        account_id=account_id, source=source, promo_id=taken.promo_id, amount_micro=-taken.amount_micro
    )
    if not _begin(job_id=job_id, held=held, now=now):
        # Held on account before: the entry just written must go with the caller's transaction.
        raise KeyReused(key=hold_key(job_id))


def _begin(*, job_id: int, held: Held, now: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            BEGIN, [job_id, held.account_id, held.source.value, held.promo_id, held.amount_micro, now]
        )
        return bool(cursor.rowcount == 1)


def end_hold(*, job_id: int, state: HoldState, captured_micro: int, now: datetime) -> Held | None:
    """End the hold; None when it had ended before in the very same way. One row changed is the proof.

    Raises HoldMissing, HoldEnded, CaptureExceedsHold.
    """
    with connection.cursor() as cursor:
        cursor.execute(END, [state.value, captured_micro, now, job_id, captured_micro])
        ended = cursor.fetchone()
    if ended is not None:
        account_id, source, promo_id, amount_micro = ended
        return Held(
            account_id=account_id, source=Source(source), promo_id=promo_id, amount_micro=amount_micro
        )
    row = Hold.objects.filter(job_id=job_id).first()
    if row is None:
        raise HoldMissing(f"nothing is held for job {job_id}")
    if row.state == HoldState.OPEN:
        raise CaptureExceedsHold(f"{captured_micro} of the {row.amount_micro} held for job {job_id}")
    if (row.state, row.captured_micro) != (state, captured_micro):
        raise HoldEnded(f"the hold for job {job_id} is {row.state} with {row.captured_micro} captured")
    return None


def lines_of_end(held: Held, *, captured_micro: int) -> tuple[Line, ...]:
    """What ending a hold moves: the captured part becomes revenue, the rest goes back where it came from."""
    earned = Line(place=Place.REVENUE, amount_micro=captured_micro)
    if held.source == Source.PAYG:
        return Line(place=Place.RECEIVABLE, amount_micro=-captured_micro), earned
    origin = Place.PROMO if held.source == Source.PROMO else Place.WALLET
    rest = Line(place=origin, amount_micro=held.amount_micro - captured_micro, promo_id=held.promo_id)
    return Line(place=Place.HELD, amount_micro=-held.amount_micro), earned, rest
