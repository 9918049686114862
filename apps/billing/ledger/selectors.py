"""Reads of the ledger: what an account has, what happened to it, and whether the books balance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet, Sum

from apps.accounts.models import Account
from apps.billing.ledger.choices import TENANT_PLACES, EntryName, HoldState, Place
from apps.billing.ledger.models import Hold, LedgerAccount, LedgerEntry, LedgerLine

PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Balances:
    """Micro-dollars of one account; none is ever negative."""

    wallet_micro: int
    """Prepaid, free to be spent."""
    promo_micro: int
    """Promotional credit that has not expired, free to be spent."""
    held_micro: int
    """Set aside for open jobs, from wallet and credit."""
    receivable_micro: int
    """Delivered on account and not yet invoiced."""
    invoiced_micro: int
    """Invoiced, tax included, and not yet paid."""
    disputed_micro: int
    """Top-ups that a bank took back after they had been spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One entry as its account sees it."""

    id: int
    at: datetime
    name: str
    title: str
    """`name` for readers."""
    memo: str
    job_id: int | None
    amount_micro: int
    changes: Mapping[Place, int]
    """What it added to the account's own places (or took); the system's are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One page of an account's entries, newest first."""

    lines: tuple[StatementLine, ...]
    next_before: int | None
    """`before` of the next page; None at the end."""


def balances(account: Account, now: datetime) -> Balances:
    """One query, whatever the length of the ledger."""
    is_valid = ~Q(kind=Place.PROMO) | Q(expires_at=None) | Q(expires_at__gt=now)
    rows = LedgerAccount.objects.filter(is_valid, account=account).values_list("kind", "balance_micro")
    found: dict[str, int] = defaultdict(int)
    for kind, micro in rows:
        found[kind] += micro or 0
    return Balances(
        wallet_micro=found[Place.WALLET],
        promo_micro=found[Place.PROMO],
        held_micro=found[Place.HELD],
        receivable_micro=-found[Place.RECEIVABLE],
        invoiced_micro=-found[Place.INVOICED],
        disputed_micro=-found[Place.DISPUTED],
    )


def entries(account: Account, *, before: int | None = None, limit: int = PAGE) -> Statement:
    """Entries of `account` older than the entry `before`, newest first; two queries a page.

    Without what a dispute cost us: that is nobody's but ours.
    """
    rows = LedgerEntry.objects.filter(account=account).exclude(name=EntryName.DISPUTE_FEE).order_by("-id")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    page = list(rows[: limit + 1])
    shown = page[:limit]
    changes = _changes_of(shown)
    return Statement(
        lines=tuple(
            StatementLine(
                id=entry.pk,
                at=entry.at,
                name=entry.name,
                title=entry.get_name_display(),
                memo=entry.memo,
                job_id=entry.job_id,
                amount_micro=entry.amount_micro,
                changes=changes[entry.pk],
            )
            for entry in shown
        ),
        next_before=shown[-1].pk if len(page) > limit else None,
    )


def _changes_of(shown: list[LedgerEntry]) -> Mapping[int, Mapping[Place, int]]:
    lines = LedgerLine.objects.filter(entry__in=shown, ledger_account__kind__in=TENANT_PLACES)
    found: dict[int, dict[Place, int]] = defaultdict(dict)
    for entry_id, kind, micro in lines.values_list("entry_id", "ledger_account__kind", "amount_micro"):
        found[entry_id][Place(kind)] = micro
    return found


def open_holds() -> QuerySet[Hold]:
    """What is set aside for jobs and neither captured nor released."""
    return Hold.objects.filter(state=HoldState.OPEN)


def trial_balance() -> dict[Place, int]:
    """The sum of every kind of place, from the lines alone; together they are zero. Reads all lines."""
    found = dict.fromkeys(Place, 0)
    sums = LedgerLine.objects.values_list("ledger_account__kind").annotate(micro=Sum("amount_micro"))
    for kind, micro in sums:
        found[Place(kind)] = micro
    return found
