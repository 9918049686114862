"""Several holds and captures in one statement: what single ones would have done, or nothing."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from apps.billing.choices import Source
from apps.billing.ledger.invariants import LEDGER_CHECKS
from apps.billing.ledger.services import capture
from apps.billing.ledger.together import Chosen, capture_together, choose_sources, hold_together
from apps.core import clock
from tests.apps.generation.paying import fill_wallet, give_credit, money_of
from tests.cast import Cast

WALLET = Chosen(source=Source.WALLET)
LATER = Chosen(source=Source.PAYG)


def hold(cast: Cast, prices: dict[int, int], *, may_pay_later: bool = False) -> list[Chosen]:
    """Of jobs by their ids."""
    with transaction.atomic():
        return hold_together(
            account_id=cast.account.pk,
            prices=list(prices.values()),
            job_ids=lambda: list(prices),
            may_pay_later=lambda: may_pay_later,
            now=clock.now(),
        )


def capture_all(amounts: dict[int, int]) -> set[int]:
    with transaction.atomic():
        return capture_together(amounts, now=clock.now())


def assert_ledger_holds() -> None:
    assert [line for check in LEDGER_CHECKS for line in check(clock.now())] == []


def test_each_call_has_the_first_source_with_all_of_its_price() -> None:
    chosen = choose_sources(
        [6, 5, 4, 10, 1], promos=[(1, 5), (2, 10)], wallet_micro=10, may_pay_later=lambda: False
    )

    assert chosen == [
        Chosen(source=Source.PROMO, promo_id=2),
        Chosen(source=Source.PROMO, promo_id=1),
        Chosen(source=Source.PROMO, promo_id=2),
        WALLET,
    ]


def test_whether_an_account_is_trusted_is_asked_once_and_only_where_it_matters() -> None:
    asked: list[bool] = []

    def trust() -> bool:
        asked.append(True)
        return True

    assert choose_sources([3, 3], promos=[], wallet_micro=6, may_pay_later=trust) == [WALLET, WALLET]
    assert asked == []
    assert choose_sources([3] * 3, promos=[], wallet_micro=3, may_pay_later=trust) == [WALLET, LATER, LATER]
    assert asked == [True]


@pytest.mark.django_db
def test_credit_wallet_and_invoice_pay_for_jobs_of_one_submit_and_each_is_earned_once(cast: Cast) -> None:
    fill_wallet(cast.account, 50)
    give_credit(cast.account, 30)

    chosen = hold(cast, {1: 30, 2: 40, 3: 20}, may_pay_later=True)

    assert [each.source for each in chosen] == [Source.PROMO, Source.WALLET, Source.PAYG]
    assert money_of(cast.account) == (10, 0, 70, 0)
    assert capture_all({1: 30, 2: 40, 3: 20}) == {1, 2, 3}
    assert money_of(cast.account) == (10, 0, 0, 20)
    assert capture_all({1: 30, 2: 40, 3: 20}) == set()
    assert money_of(cast.account) == (10, 0, 0, 20)
    assert_ledger_holds()


@pytest.mark.django_db
def test_nothing_is_held_where_one_of_them_is_not_paid(cast: Cast) -> None:
    fill_wallet(cast.account, 50)

    assert hold(cast, {1: 30, 2: 30}) == [WALLET]
    assert money_of(cast.account) == (50, 0, 0, 0)


@pytest.mark.django_db
def test_an_account_without_places_gets_them(cast: Cast) -> None:
    assert hold(cast, {1: 30}) == []
    assert hold(cast, {1: 30}, may_pay_later=True) == [LATER]
    assert capture_all({1: 30}) == {1}
    assert money_of(cast.account) == (0, 0, 0, 30)
    assert_ledger_holds()


@pytest.mark.django_db
def test_a_job_cannot_be_held_for_twice(cast: Cast) -> None:
    fill_wallet(cast.account, 50)
    hold(cast, {1: 10})
    with pytest.raises(IntegrityError):
        hold(cast, {2: 10, 1: 10})
    assert money_of(cast.account) == (40, 0, 10, 0)


@pytest.mark.django_db
def test_what_is_not_held_just_so_is_left_to_single_captures(cast: Cast) -> None:
    fill_wallet(cast.account, 50)
    hold(cast, {1: 10, 2: 10, 3: 10})
    with transaction.atomic():
        capture(job_id=1, amount_micro=10, now=clock.now())

    assert capture_all({1: 10, 2: 9, 3: 10, 4: 10}) == {3}
    assert money_of(cast.account) == (20, 0, 10, 0)
    assert_ledger_holds()
