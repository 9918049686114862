"""Promotional credit: each grant has a place of its own, so that it can expire by itself."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from apps.billing.ledger.booking import book
from apps.billing.ledger.choices import EntryName, Place
from apps.billing.ledger.errors import KeyReused
from apps.billing.ledger.models import LedgerAccount, LedgerEntry, LedgerLine
from apps.billing.ledger.posting import lock_account


def find_grant(*, key: str, account_id: int, amount_micro: int, terms: str) -> bool:
    """Whether this was granted before. Raises KeyReused if the key says something else."""
    entry = LedgerEntry.objects.filter(key=key).first()
    if entry is None:
        return False
    asked = (EntryName.GRANT, account_id, amount_micro, terms)
    if (entry.name, entry.account_id, entry.amount_micro, entry.terms) != asked:
        raise KeyReused(key=key)
    return True


def open_promo(*, account_id: int, key: str, expires_at: datetime | None) -> int:
    """The place of this grant; the constraint on `opened_by` settles who of two makes it."""
    place = LedgerAccount(
        kind=Place.PROMO, account_id=account_id, balance_micro=0, opened_by=key, expires_at=expires_at
    )
    LedgerAccount.objects.bulk_create([place], ignore_conflicts=True)
    return LedgerAccount.objects.values_list("pk", flat=True).get(opened_by=key)


def expired_promos(now: datetime) -> QuerySet[LedgerAccount]:
    """Promotional credits that have expired with something left."""
    return LedgerAccount.objects.filter(kind=Place.PROMO, balance_micro__gt=0, expires_at__lte=now)


def take_back(promo_id: int, *, account_id: int, now: datetime) -> bool:
    """Return what is left of one expired credit to the system; False if nothing is; a part."""
    lock_account(account_id)
    promo = expired_promos(now).filter(pk=promo_id).first()
    if promo is None:
        return False
    assert promo.balance_micro is not None  # a constraint of the table
    # Under the lock no line can be added: the count is a key of this very state of the place.
    turn = LedgerLine.objects.filter(ledger_account=promo).count()
    book(
        EntryName.GRANT_EXPIRED,
        {Place.PROMO: -promo.balance_micro, Place.GRANTS: promo.balance_micro},
        account_id=account_id,
        amount_micro=promo.balance_micro,
        key=f"expire:{promo_id}:{turn}",
        memo=f"expired {promo.expires_at:%Y-%m-%d}",
        now=now,
        promo_id=promo_id,
    )
    return True
