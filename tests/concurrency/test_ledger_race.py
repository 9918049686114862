"""Sixteen callers want the last of an account's money, or the same thing twice: one has it, every time.

DARKROOM_DRILL_COUNT sets the rounds; the controls show that the races are real when the guard is off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import F

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.ledger import services
from apps.billing.ledger.choices import Place
from apps.billing.ledger.errors import HoldEnded, InsufficientFunds, KeyReused
from apps.billing.ledger.grants import expired_promos, take_back
from apps.billing.ledger.models import LedgerAccount, LedgerEntry
from tests.apps.billing.ledger.books import (
    NEXT_MONTH,
    NOW,
    assert_books_balance,
    balance,
    grant,
    hold,
    money,
    top_up,
)
from tests.apps.generation.studio import PATIENCE_S
from tests.concurrency.racing import DRILL_S, Race
from tests.drills.counting import drill_count
from tests.factories import make_account

RACERS = 16
ROUNDS = 6
LAST = 7
_job_ids = count(1)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(DRILL_S)]


@pytest.fixture
def account(transactional_db: None) -> Account:
    return make_account(now=NOW)


def race(acts_of: Any, *refusals: type[Exception]) -> list[Counter[Any]]:
    return Race(RACERS).run(drill_count(ROUNDS), acts_of, refusals=refusals)


def one_wins(refusal: type[Exception]) -> list[Counter[Any]]:
    return [Counter({None: 1, refusal: RACERS - 1})] * drill_count(ROUNDS)


def hold_last(account: Account, source: Source) -> partial[None]:
    return partial(
        services.hold,
        account_id=account.pk,
        job_id=next(_job_ids),
        source=source,
        amount_micro=LAST,
        now=NOW,
    )


def assert_nothing() -> None:
    """A racer that has nothing to do in a round."""


@pytest.mark.parametrize("source", [Source.WALLET, Source.PROMO])
def test_the_last_money_pays_for_one_job(account: Account, source: Source) -> None:
    accounts = [make_account(f"racer-{number}", now=NOW) for number in range(drill_count(ROUNDS))]
    for each in accounts:
        top_up(each, LAST) if source == Source.WALLET else grant(each, LAST)
    found = race(
        lambda number: [hold_last(accounts[number], source) for _ in range(RACERS)], InsufficientFunds
    )
    assert found == one_wins(InsufficientFunds)
    assert {money(each) for each in accounts} == {balance(held=LAST)}
    assert_books_balance()


def test_two_credits_pay_for_two_jobs_though_everybody_asks_the_same_first(account: Account) -> None:
    accounts = [make_account(f"racer-{number}", now=NOW) for number in range(drill_count(ROUNDS))]
    for each in accounts:
        grant(each, LAST)
        grant(each, LAST, expires_at=None)
    found = race(
        lambda number: [hold_last(accounts[number], Source.PROMO) for _ in range(RACERS)],
        InsufficientFunds,
    )
    assert found == [Counter({None: 2, InsufficientFunds: RACERS - 2})] * drill_count(ROUNDS)
    assert_books_balance()


def test_a_refund_and_jobs_do_not_spend_the_same_money(account: Account) -> None:
    accounts = [make_account(f"racer-{number}", now=NOW) for number in range(drill_count(ROUNDS))]
    for each in accounts:
        top_up(each, LAST)

    def acts(number: int) -> list[partial[None]]:
        refunds = [
            partial(
                services.refund_top_up,
                account_id=accounts[number].pk,
                amount_micro=LAST,
                key=f"refund:{number}:{each}",
                memo="",
                now=NOW,
            )
            for each in range(RACERS // 2)
        ]
        return [*refunds, *[hold_last(accounts[number], Source.WALLET) for _ in range(RACERS // 2)]]

    assert race(acts, InsufficientFunds) == one_wins(InsufficientFunds)
    assert {(found.wallet_micro, found.held_micro) for found in map(money, accounts)} <= {(0, 0), (0, LAST)}
    assert_books_balance()


@pytest.mark.parametrize("act", [services.top_up, services.refund_top_up, services.grant, services.dispute])
def test_the_same_key_from_everybody_is_one_entry(account: Account, act: Any) -> None:
    rounds = drill_count(ROUNDS)
    top_up(account, rounds * LAST)
    more: dict[str, Any] = (
        {"actor": SYSTEM, "expires_at": NEXT_MONTH, "memo": ""} if act is services.grant else {"memo": ""}
    )
    found = race(
        lambda number: (
            [partial(act, account_id=account.pk, amount_micro=LAST, key=f"key:{number}", now=NOW, **more)]
            * RACERS
        )
    )
    assert found == [Counter({None: RACERS})] * rounds
    assert LedgerEntry.objects.filter(key__startswith="key:").count() == rounds
    assert (
        money(account)
        == {
            services.top_up: balance(wallet=2 * rounds * LAST),
            services.refund_top_up: balance(),
            services.grant: balance(wallet=rounds * LAST, promo=rounds * LAST),
            services.dispute: balance(),
        }[act]
    )
    assert_books_balance()


def test_the_same_key_with_different_amounts_is_one_of_them(account: Account) -> None:
    found = race(
        lambda number: [
            partial(
                services.top_up,
                account_id=account.pk,
                amount_micro=each + 1,
                key=f"key:{number}",
                memo="",
                now=NOW,
            )
            for each in range(RACERS)
        ],
        KeyReused,
    )
    assert found == one_wins(KeyReused)
    assert_books_balance()


def test_a_new_accounts_first_entries_share_its_places(account: Account) -> None:
    accounts = [make_account(f"racer-{number}", now=NOW) for number in range(drill_count(ROUNDS))]
    race(
        lambda number: [
            partial(
                services.top_up,
                account_id=accounts[number].pk,
                amount_micro=LAST,
                key=f"key:{number}:{each}",
                memo="",
                now=NOW,
            )
            for each in range(RACERS)
        ]
    )
    assert {money(each) for each in accounts} == {balance(wallet=RACERS * LAST)}
    assert_books_balance()


def test_a_hold_ends_once_whoever_ends_it(account: Account) -> None:
    rounds = drill_count(ROUNDS)
    top_up(account, rounds * LAST)
    jobs = [next(_job_ids) for _ in range(rounds)]
    for job_id in jobs:
        hold(account, job_id, LAST)

    def acts(number: int) -> list[partial[None]]:
        """Each racer has its own amount, and one of them releases."""
        captures = [
            partial(services.capture, job_id=jobs[number], amount_micro=each % (LAST + 1), now=NOW)
            for each in range(LAST + 1)
        ]
        idle = [partial(assert_nothing)] * (RACERS - LAST - 2)
        return [*captures, partial(services.release, job_id=jobs[number], now=NOW), *idle]

    found = race(acts, HoldEnded)
    assert found == [Counter({None: 1 + RACERS - LAST - 2, HoldEnded: LAST + 1})] * rounds
    assert money(account).held_micro == 0
    assert_books_balance()


def test_holds_and_ends_in_any_order_do_not_wait_in_a_circle(account: Account) -> None:
    rounds = drill_count(ROUNDS)
    top_up(account, RACERS * rounds * LAST)
    grant(account, RACERS * rounds * LAST)

    def back_and_forth(source: Source) -> None:
        begin = hold_last(account, source)
        begin()
        services.capture(job_id=begin.keywords["job_id"], amount_micro=LAST // 2, now=NOW)

    sources = [Source.WALLET, Source.PROMO] * (RACERS // 2)
    race(lambda number: [partial(back_and_forth, source) for source in sources])
    spent = RACERS // 2 * rounds * (LAST // 2)
    left = RACERS * rounds * LAST - spent
    assert money(account) == balance(wallet=left, promo=left)
    assert_books_balance()


def test_whatever_one_transaction_does_nobody_waits_in_a_circle(account: Account) -> None:
    """Several entries a transaction, in every order and of every place, as webhooks and pages may do."""
    top_up(account, 10_000)
    grant(account, LAST, expires_at=NEXT_MONTH)
    grant(account, 10_000, expires_at=None)
    numbers = count(1)
    common: dict[str, Any] = {"account_id": account.pk, "amount_micro": 1, "now": NOW}

    def deed(order: int) -> None:
        parts: list[Callable[[], object]] = [
            hold_last(account, Source.PROMO),
            hold_last(account, Source.WALLET),
            partial(services.top_up, key=f"a:{next(numbers)}", memo="", **common),
            partial(services.dispute, key=f"b:{next(numbers)}", memo="", **common),
            partial(
                services.grant,
                key=f"c:{next(numbers)}",
                memo="",
                actor=SYSTEM,
                expires_at=NEXT_MONTH,
                **common,
            ),
        ]
        for position in range(len(parts)):
            parts[(position + order) % len(parts)]()

    def expire() -> None:
        for promo_id in expired_promos(NEXT_MONTH).values_list("pk", flat=True):
            take_back(promo_id, account_id=account.pk, now=NEXT_MONTH)

    def act(racer: int) -> Callable[[], None]:
        return expire if racer == 0 else partial(deed, racer)

    race(lambda number: [act(racer) for racer in range(RACERS)], InsufficientFunds)
    assert_books_balance()


def test_control_reading_the_balance_first_spends_it_many_times(account: Account) -> None:
    top_up(account, LAST)
    everybody_read = Barrier(RACERS)
    wallet = LedgerAccount.objects.get(account=account, kind=Place.WALLET)

    def read_then_write() -> None:
        row = LedgerAccount.objects.get(pk=wallet.pk)
        if (row.balance_micro or 0) < LAST:
            raise InsufficientFunds(amount_micro=LAST, place=Place.WALLET.label)
        everybody_read.wait(PATIENCE_S)
        # Written as read; the database's own constraint refuses what goes below zero, and this does not.
        LedgerAccount.objects.filter(pk=wallet.pk).update(balance_micro=row.balance_micro - LAST)  # type: ignore[operator]  # wallets have one

    found = Race(RACERS).run(1, lambda _: [read_then_write] * RACERS, refusals=(InsufficientFunds,))
    assert found == [Counter({None: RACERS})]


def test_control_without_the_limit_in_the_statement_the_constraint_still_refuses(account: Account) -> None:
    """The last line of defence: whoever forgets the limit gets an error, never a negative balance."""
    top_up(account, LAST)

    def take() -> None:
        wallet = LedgerAccount.objects.filter(account=account, kind=Place.WALLET)
        wallet.update(balance_micro=F("balance_micro") - LAST)

    found = Race(RACERS).run(1, lambda _: [take] * RACERS, refusals=(IntegrityError,))
    assert found == [Counter({None: 1, IntegrityError: RACERS - 1})]
