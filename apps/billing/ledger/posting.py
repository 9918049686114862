"""Writing one entry: all of it, once, within the balances; or nothing.

One statement does it. It locks one row of the tenant first, always the same (the place of what is held), so
that transactions never wait for each other in a circle, however many entries each of them writes; then the
places that the entry is about; finds under these locks whether every balance stays on its side of zero; and
only then writes the entry, its lines and the balances. No balance is ever read first and written later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q

from apps.billing.ledger.choices import DEBT_PLACES, SINGLE_TENANT_PLACES, SYSTEM_PLACES, EntryName, Place
from apps.billing.ledger.errors import InsufficientFunds, KeyReused
from apps.billing.ledger.models import LedgerAccount, LedgerEntry
from apps.core.db import require_transaction

POST = """
WITH wanted AS (
    SELECT * FROM unnest(%(kinds)s::text[], %(promos)s::bigint[], %(amounts)s::bigint[])
               AS wanted (kind, promo_id, amount)
), gate AS MATERIALIZED (
    SELECT id FROM billing_ledgeraccount WHERE account_id = %(account_id)s AND kind = 'held'
       FOR NO KEY UPDATE
), tenant AS MATERIALIZED (
    SELECT place.id, wanted.amount,
           CASE WHEN place.kind = ANY(%(debts)s) THEN place.balance_micro + wanted.amount <= 0
                ELSE place.balance_micro + wanted.amount >= 0 END AS is_within
      FROM billing_ledgeraccount AS place JOIN wanted ON wanted.kind = place.kind
     WHERE place.account_id = %(account_id)s AND (wanted.promo_id IS NULL OR wanted.promo_id = place.id)
       AND EXISTS (SELECT FROM gate)
     ORDER BY place.id FOR NO KEY UPDATE OF place
), place AS (
    SELECT id, amount FROM tenant
     UNION ALL
    SELECT system.id, wanted.amount FROM billing_ledgeraccount AS system JOIN wanted USING (kind)
     WHERE system.account_id IS NULL AND EXISTS (SELECT FROM gate)
), entry AS (
    INSERT INTO billing_ledgerentry (key, name, at, account_id, job_id, amount_micro, terms, memo)
    SELECT %(key)s, %(name)s, %(now)s, %(account_id)s, %(job_id)s, %(amount_micro)s, %(terms)s, %(memo)s
     WHERE (SELECT COALESCE(bool_and(is_within), true) FROM tenant)
       AND (SELECT count(*) FROM place) = cardinality(%(kinds)s::text[])
        ON CONFLICT (key) DO NOTHING RETURNING id
), moved AS (
    UPDATE billing_ledgeraccount AS place SET balance_micro = place.balance_micro + tenant.amount
      FROM tenant, entry WHERE place.id = tenant.id
), written AS (
    INSERT INTO billing_ledgerline (entry_id, ledger_account_id, amount_micro)
    SELECT entry.id, place.id, place.amount FROM entry, place RETURNING entry_id
)
SELECT (SELECT max(entry_id) FROM written), (SELECT count(*) FROM place)
"""
MEMO_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is added to a place (positive) or taken from it, in micro-dollars."""

    place: Place
    amount_micro: int
    promo_id: int | None = None
    """Which promotional credit: its ledger account; None for every other place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """An entry to be written. Lines of zero are left out."""

    name: EntryName
    key: str
    account_id: int
    amount_micro: int
    """What the operation was asked to move, however it is split; at least one line differs from zero."""
    lines: tuple[Line, ...]
    now: datetime
    job_id: int | None = None
    terms: str = ""
    memo: str = ""

    def __post_init__(self) -> None:
        if sum(line.amount_micro for line in self.lines) != 0:
            raise ValueError(f"the lines of {self.key} do not sum to zero")

    @property
    def asks(self) -> tuple[object, ...]:
        """What must be equal when the key comes again; where the money lay then may differ."""
        return self.name, self.account_id, self.job_id, self.amount_micro, self.terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """The entry that has the key now."""

    entry_id: int
    is_new: bool
    """False: it was there before, saying the same, and nothing was written."""


def post(posting: Posting, *, taken_from: str) -> Posted:
    """Write `posting`, or find that it was written before; a part.

    Raises InsufficientFunds, naming `taken_from`, when a balance would cross zero, and KeyReused when the
    key belongs to an entry that asks for something else. After either nothing of it is written, and the
    transaction may go on.
    """
    require_transaction()
    entry_id, found_places = _write(posting)
    if not found_places:
        open_places(posting.account_id)
        entry_id, found_places = _write(posting)
    if entry_id is not None:
        return Posted(entry_id=entry_id, is_new=True)
    known = find_entry(posting)
    if known is None:
        raise InsufficientFunds(amount_micro=abs(posting.amount_micro), place=taken_from)
    return known


def find_entry(posting: Posting) -> Posted | None:
    """The entry with this key, if there is one. Raises KeyReused if it asks for something else."""
    entry = LedgerEntry.objects.filter(key=posting.key).first()
    if entry is None:
        return None
    if (entry.name, entry.account_id, entry.job_id, entry.amount_micro, entry.terms) != posting.asks:
        raise KeyReused(key=posting.key)
    return Posted(entry_id=entry.pk, is_new=False)


def open_places(account_id: int) -> None:
    """Make the places of an account, and those of the system, that are missing."""
    places = LedgerAccount.objects.filter(Q(account_id=account_id) | Q(account=None))
    present = set(places.values_list("kind", flat=True))
    missing = [
        LedgerAccount(kind=kind, account_id=account_id, balance_micro=0)
        for kind in SINGLE_TENANT_PLACES
        if kind not in present
    ] + [LedgerAccount(kind=kind) for kind in SYSTEM_PLACES if kind not in present]
    # Somebody else may be making them, too: the unique constraints let one of the two through.
    LedgerAccount.objects.bulk_create(missing, ignore_conflicts=True)


def lock_account(account_id: int) -> None:
    """Wait until no other transaction moves this account's money, and keep all others waiting; a part.

    For whoever must know a balance before it can say what to post.
    """
    require_transaction()
    gate = LedgerAccount.objects.filter(account_id=account_id, kind=Place.HELD).select_for_update(no_key=True)
    if gate.first() is None:
        open_places(account_id)
        gate.get()


def _write(posting: Posting) -> tuple[int | None, bool]:
    """The new entry's id, and whether all places were there.

    There is no id when one was not, when the key is taken, and when a balance would cross zero.
    """
    lines = [line for line in posting.lines if line.amount_micro]
    with connection.cursor() as cursor:
        cursor.execute(
            POST,
            {
                "kinds": [line.place.value for line in lines],
                "promos": [line.promo_id for line in lines],
                "amounts": [line.amount_micro for line in lines],
                "debts": [place.value for place in DEBT_PLACES],
                "key": posting.key,
                "name": posting.name.value,
                "now": posting.now,
                "account_id": posting.account_id,
                "job_id": posting.job_id,
                "amount_micro": posting.amount_micro,
                "terms": posting.terms,
                "memo": posting.memo[:MEMO_LENGTH],
            },
        )
        entry_id, places = cursor.fetchall()[0]
    return entry_id, places == len(lines)
