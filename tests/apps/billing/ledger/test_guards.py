"""What the database itself refuses, whoever writes to it, and what the invariants find if it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from apps.accounts.models import Account
from apps.audit.append_only import AppendOnly
from apps.billing.choices import Source
from apps.billing.ledger.choices import EntryName, Place
from apps.billing.ledger.invariants import LEDGER_CHECKS
from apps.billing.ledger.models import Hold, LedgerAccount, LedgerEntry, LedgerLine
from apps.billing.ledger.posting import Line, Posting
from tests.apps.billing.ledger.books import NOW, USD, assert_books_balance, capture, hold, release, top_up
from tests.factories import make_account


@pytest.fixture
def account(db: None) -> Account:
    account = make_account(now=NOW)
    top_up(account, 9 * USD, key="topup:1")
    return account


def place(kind: Place) -> LedgerAccount:
    return LedgerAccount.objects.get(kind=kind)


def write_entry(account: Account, *micros: int) -> LedgerEntry:
    """An entry of lines that alternate between wallet and cash, past every service."""
    entry = LedgerEntry(key="by hand", name=EntryName.TOP_UP, at=NOW, account=account, amount_micro=1)
    entry.save()
    for number, micro in enumerate(micros):
        kind = Place.CASH if number % 2 else Place.WALLET
        LedgerLine(entry=entry, ledger_account=place(kind), amount_micro=micro).save()
    return entry


def check_now() -> None:
    """What a commit would check, without the end of the test's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize("micros", [(), (5,), (5, -4), (5, 5)])
def test_an_entry_that_does_not_sum_to_zero_is_refused(account: Account, micros: tuple[int, ...]) -> None:
    with pytest.raises(IntegrityError, match="that sum to"), transaction.atomic():
        write_entry(account, *micros)
        check_now()
    assert LedgerEntry.objects.count() == 1


def test_a_line_added_later_is_refused(account: Account) -> None:
    entry = LedgerEntry.objects.get()
    with pytest.raises(IntegrityError, match="3 lines that sum to 1"), transaction.atomic():
        LedgerLine(entry=entry, ledger_account=place(Place.WALLET), amount_micro=1).save()
        check_now()


@pytest.mark.django_db(transaction=True)
def test_the_commit_itself_checks() -> None:
    account = make_account(now=NOW)
    top_up(account, USD, key="topup:1")
    with pytest.raises(IntegrityError, match="1 lines that sum to 5"), transaction.atomic():
        write_entry(account, 5)
    assert LedgerEntry.objects.count() == 1


def test_entries_and_lines_are_never_changed(account: Account) -> None:
    for row in (LedgerEntry.objects.get(), LedgerLine.objects.first()):
        assert row is not None
        with pytest.raises(AppendOnly):
            row.save()
        with pytest.raises(AppendOnly):
            row.delete()
    tables = ("billing_ledgerentry", "billing_ledgerline")
    statements = [f"UPDATE {table} SET id = id + 1" for table in tables]
    statements += [f"DELETE FROM {table}" for table in (*tables, "billing_ledgeraccount")]
    for statement in statements:
        with pytest.raises(DatabaseError, match="cannot be changed or deleted"), transaction.atomic():
            connection.cursor().execute(statement)


@pytest.mark.parametrize(("kind", "micro"), [(Place.WALLET, -1), (Place.HELD, -1), (Place.RECEIVABLE, 1)])
def test_no_balance_crosses_zero_whoever_writes_it(account: Account, kind: Place, micro: int) -> None:
    with pytest.raises(IntegrityError, match="billing_balance_on_its_side"), transaction.atomic():
        LedgerAccount.objects.filter(kind=kind).update(balance_micro=micro)


def test_a_hold_captures_no_more_than_it_has_and_ends_once(account: Account) -> None:
    hold(account, 1, USD)
    for fields in ({"captured_micro": 1}, {"state": "captured"}, {"ended_at": NOW}, {"amount_micro": 0}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Hold.objects.filter(job_id=1).update(**fields)
    with pytest.raises(IntegrityError, match="billing_capture_within_hold"), transaction.atomic():
        Hold.objects.filter(job_id=1).update(state="captured", ended_at=NOW, captured_micro=USD + 1)


def test_a_posting_whose_lines_do_not_sum_to_zero_is_a_fault() -> None:
    with pytest.raises(ValueError, match="do not sum to zero"):
        Posting(
            name=EntryName.TOP_UP,
            key="k",
            account_id=1,
            amount_micro=1,
            lines=(Line(place=Place.CASH, amount_micro=-1), Line(place=Place.WALLET, amount_micro=2)),
            now=NOW,
        )


@contextmanager
def unguarded() -> Iterator[None]:
    """Triggers and a constraint off, as in a database that was repaired by hand; undone at the end."""
    with transaction.atomic(), connection.cursor() as cursor:
        # A table with checks still to be done cannot be altered.
        check_now()
        # As the owner of the tables; nobody but a superuser can switch all triggers of a session off.
        for table in ("ledgerentry", "ledgerline", "ledgeraccount", "hold"):
            cursor.execute(f"ALTER TABLE billing_{table} DISABLE TRIGGER USER")
        cursor.execute("ALTER TABLE billing_ledgeraccount DROP CONSTRAINT billing_balance_on_its_side")
        yield
        transaction.set_rollback(True)


def violated() -> set[str]:
    return {check.__name__.strip("_") for check in LEDGER_CHECKS if list(check(NOW))}


def damage(statement: str) -> set[str]:
    """The checks that find what `statement` did."""
    with unguarded():
        with connection.cursor() as cursor:
            cursor.execute(statement)
        return violated()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            "DELETE FROM billing_ledgerline WHERE amount_micro = 9000000",
            {
                "every_ledger_entry_sums_to_zero",
                "the_ledger_sums_to_zero",
                "ledger_balances_are_the_sums_of_their_lines",
            },
        ),
        (
            "UPDATE billing_ledgeraccount SET balance_micro = balance_micro + 1 WHERE kind = 'wallet'",
            {"ledger_balances_are_the_sums_of_their_lines"},
        ),
        (
            "UPDATE billing_ledgeraccount SET balance_micro = -1 WHERE kind = 'wallet'",
            {"ledger_balances_are_the_sums_of_their_lines", "no_account_is_below_zero"},
        ),
        ("DELETE FROM billing_ledgeraccount WHERE kind = 'cash'", {"every_ledger_line_has_its_place"}),
        (
            "DELETE FROM billing_hold WHERE job_id = 1",
            {"held_money_belongs_to_open_holds"},
        ),
        (
            "UPDATE billing_hold SET amount_micro = amount_micro + 1 WHERE job_id = 1",
            {"held_money_belongs_to_open_holds", "every_hold_has_its_entries"},
        ),
        ("UPDATE billing_hold SET captured_micro = 1 WHERE job_id = 2", {"every_hold_has_its_entries"}),
        (
            "UPDATE billing_hold SET state = 'released', captured_micro = 0 WHERE job_id = 2",
            {"every_hold_has_its_entries"},
        ),
        ("UPDATE billing_hold SET state = 'captured' WHERE job_id = 3", {"every_hold_has_its_entries"}),
        ("UPDATE billing_hold SET captured_micro = 7 WHERE job_id = 4", {"every_hold_has_its_entries"}),
    ],
)
def test_each_kind_of_damage_is_found_by_name(account: Account, statement: str, found: set[str]) -> None:
    for job_id in (1, 2, 3):
        hold(account, job_id, USD)
    hold(account, 4, USD, source=Source.PAYG)
    capture(2, USD // 2)
    release(3)
    capture(4, USD)
    assert_books_balance()
    assert damage(statement) == found
