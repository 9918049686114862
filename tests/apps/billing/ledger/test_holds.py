"""A hold begins once and ends once, and what it took goes exactly one way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from apps.accounts.models import Account
from apps.billing.choices import Source
from apps.billing.ledger import services
from apps.billing.ledger.choices import Place
from apps.billing.ledger.errors import (
    CaptureExceedsHold,
    HoldEnded,
    HoldMissing,
    InsufficientFunds,
    KeyReused,
)
from apps.billing.ledger.models import Hold, LedgerEntry
from apps.core.db import NotInTransaction
from tests.apps.billing.ledger.books import (
    NEXT_MONTH,
    NOW,
    USD,
    assert_books_balance,
    balance,
    capture,
    grant,
    hold,
    lines_of,
    money,
    on_record,
    release,
    top_up,
)
from tests.factories import make_account

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account(now=NOW)


def test_a_delivered_job_is_paid_from_the_wallet(account: Account) -> None:
    top_up(account, 10 * USD)
    hold(account, 1, 3 * USD)
    assert money(account) == balance(wallet=7 * USD, held=3 * USD)
    capture(1, 3 * USD)
    assert money(account) == balance(wallet=7 * USD)
    assert lines_of("capture:job:1") == {Place.HELD: -3 * USD, Place.REVENUE: 3 * USD}
    assert_books_balance()


def test_what_was_not_delivered_comes_back(account: Account) -> None:
    top_up(account, 10 * USD)
    hold(account, 1, 3 * USD)
    capture(1, 1 * USD)
    assert money(account) == balance(wallet=9 * USD)
    assert lines_of("capture:job:1") == {Place.HELD: -3 * USD, Place.REVENUE: USD, Place.WALLET: 2 * USD}
    assert_books_balance()


def test_a_failed_job_costs_nothing(account: Account) -> None:
    top_up(account, 10 * USD)
    hold(account, 1, 3 * USD)
    release(1)
    assert money(account) == balance(wallet=10 * USD)
    assert_books_balance()


def test_capturing_nothing_gives_everything_back(account: Account) -> None:
    top_up(account, USD)
    hold(account, 1, USD)
    capture(1, 0)
    hold(account, 2, USD, source=Source.PAYG)
    capture(2, 0)
    assert money(account) == balance(wallet=USD)
    assert_books_balance()


def test_the_wallet_is_spent_to_the_last_micro_dollar_and_no_further(account: Account) -> None:
    top_up(account, USD)
    hold(account, 1, USD)
    with pytest.raises(InsufficientFunds, match=r"less than \$0.000001 in the account's prepaid wallet"):
        hold(account, 2, 1)
    assert money(account) == balance(held=USD)


def test_a_refusal_leaves_no_trace_so_that_another_source_may_pay(account: Account) -> None:
    top_up(account, USD)
    with transaction.atomic():
        before = on_record()
        with pytest.raises(InsufficientFunds):
            services.hold(
                account_id=account.pk, job_id=1, source=Source.WALLET, amount_micro=2 * USD, now=NOW
            )
        assert on_record() == before
        services.hold(account_id=account.pk, job_id=1, source=Source.PAYG, amount_micro=2 * USD, now=NOW)
    capture(1, 2 * USD)
    assert money(account) == balance(wallet=USD, receivable=2 * USD)
    assert_books_balance()


def test_an_account_without_any_money_is_refused(account: Account) -> None:
    for source in (Source.WALLET, Source.PROMO):
        with pytest.raises(InsufficientFunds):
            hold(account, 1, 1, source=source)
    assert not LedgerEntry.objects.exists()


def test_credit_that_expires_first_is_spent_first(account: Account) -> None:
    grant(account, 5 * USD, expires_at=None)
    grant(account, 5 * USD, expires_at=NEXT_MONTH, key="grant:later")
    grant(account, 5 * USD, expires_at=NEXT_MONTH - timedelta(days=1), key="grant:sooner")
    hold(account, 1, 3 * USD, source=Source.PROMO)
    hold(account, 2, 3 * USD, source=Source.PROMO)
    first, second = (Hold.objects.get(job_id=job_id).promo for job_id in (1, 2))
    assert first is not None and second is not None
    # One job has one funding: the two dollars left of the first are passed over.
    assert (first.opened_by, second.opened_by) == ("grant:sooner", "grant:later")
    capture(1, 3 * USD)
    release(2)
    assert money(account) == balance(promo=12 * USD)
    assert_books_balance()


def test_expired_credit_pays_nothing_and_goes_back(account: Account) -> None:
    grant(account, 5 * USD)
    with pytest.raises(InsufficientFunds):
        hold(account, 1, USD, source=Source.PROMO, now=NEXT_MONTH)
    assert money(account, now=NEXT_MONTH) == balance()


def test_pay_as_you_go_owes_what_was_delivered_and_nothing_before(account: Account) -> None:
    hold(account, 1, 3 * USD, source=Source.PAYG)
    hold(account, 2, 3 * USD, source=Source.PAYG)
    assert money(account) == balance()
    capture(1, 2 * USD)
    release(2)
    assert money(account) == balance(receivable=2 * USD)
    assert_books_balance()


@pytest.mark.parametrize("source", [Source.WALLET, Source.PROMO, Source.PAYG])
def test_doing_it_again_changes_nothing(account: Account, source: Source) -> None:
    top_up(account, 3 * USD)
    grant(account, 3 * USD)
    # Nothing is left after the first time: the second must see that it is the same.
    hold(account, 1, 3 * USD, source=source)
    before = on_record()
    hold(account, 1, 3 * USD, source=source, now=NEXT_MONTH)
    assert on_record() == before
    capture(1, USD)
    before = on_record()
    capture(1, USD)
    hold(account, 1, 3 * USD, source=source)
    assert on_record() == before
    hold(account, 2, USD, source=source)
    release(2)
    before = on_record()
    release(2)
    assert on_record() == before
    assert_books_balance()


@pytest.mark.parametrize("first", [Source.WALLET, Source.PROMO, Source.PAYG])
@pytest.mark.parametrize("second", [Source.WALLET, Source.PROMO, Source.PAYG])
def test_one_job_is_held_for_once(account: Account, first: Source, second: Source) -> None:
    top_up(account, 9 * USD)
    grant(account, 9 * USD)
    hold(account, 1, 3 * USD, source=first)
    before = on_record()
    with pytest.raises(KeyReused, match="hold:job:1"):
        hold(account, 1, 2 * USD, source=second)
    if first != second:
        with pytest.raises(KeyReused, match="hold:job:1"):
            hold(account, 1, 3 * USD, source=second)
    assert on_record() == before


@pytest.mark.parametrize("second", [Source.WALLET, Source.PROMO])
def test_a_job_that_is_held_for_is_not_refused_for_want_of_money(account: Account, second: Source) -> None:
    hold(account, 1, USD, source=Source.PAYG)
    with pytest.raises(KeyReused, match="hold:job:1"):
        hold(account, 1, USD, source=second)


def test_a_hold_of_another_account_is_not_the_same(account: Account) -> None:
    other = make_account("other", now=NOW)
    for each in (account, other):
        top_up(each, USD)
    hold(account, 1, USD)
    with pytest.raises(KeyReused):
        hold(other, 1, USD)
    assert money(other) == balance(wallet=USD)


def test_a_hold_ends_in_one_way(account: Account) -> None:
    top_up(account, 9 * USD)
    hold(account, 1, 3 * USD)
    hold(account, 2, 3 * USD)
    capture(1, USD)
    release(2)
    before = on_record()
    with pytest.raises(HoldEnded):
        release(1)
    for job_id, micro in ((1, 2 * USD), (2, 0)):
        with pytest.raises(HoldEnded):
            capture(job_id, micro)
    with pytest.raises(HoldMissing):
        release(3)
    with pytest.raises(HoldMissing):
        capture(3, 0)
    assert on_record() == before


@pytest.mark.parametrize("source", [Source.WALLET, Source.PAYG])
def test_no_more_is_captured_than_was_held(account: Account, source: Source) -> None:
    top_up(account, 9 * USD)
    hold(account, 1, 3 * USD, source=source)
    with pytest.raises(CaptureExceedsHold):
        capture(1, 3 * USD + 1)
    assert Hold.objects.get().state == "open"


def test_impossible_amounts_and_sources_are_faults(account: Account) -> None:
    for micro in (0, -1):
        with pytest.raises(ValueError, match="above zero"):
            hold(account, 1, micro)
    for source in (Source.PLAN, Source.DAILY_FREE):
        with pytest.raises(ValueError, match="moves no money"):
            hold(account, 1, 1, source=source)
    hold(account, 1, 1, source=Source.PAYG)
    with pytest.raises(ValueError, match="cannot be -1"):
        capture(1, -1)


@pytest.mark.django_db(transaction=True)
def test_they_are_parts_of_somebodys_transaction() -> None:
    with pytest.raises(NotInTransaction):
        services.release(job_id=1, now=NOW)
    with pytest.raises(NotInTransaction):
        services.capture(job_id=1, amount_micro=1, now=NOW)
    with pytest.raises(NotInTransaction):
        services.top_up(account_id=1, amount_micro=1, key="k", memo="", now=NOW)
