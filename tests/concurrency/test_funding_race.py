"""Sixteen submits want what is left: the free call, the included one, the credit, the money, the budget.

DARKROOM_DRILL_COUNT sets the rounds. Each source has one winner a round and the next source the next, in the
fixed order; whoever comes later is refused, and nothing is negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.billing.errors import PaymentRequired
from apps.core import clock
from apps.generation.models import GenerationJob
from apps.quotas.budgets import set_budget
from apps.quotas.errors import BudgetExhausted, DailyQuotaExhausted
from tests.apps.generation.paying import (
    IMAGE_MICRO,
    PAID,
    fill_wallet,
    give_credit,
    let_pay_later,
    money_of,
    publish_prices,
)
from tests.apps.generation.studio import Studio, assert_invariants_hold
from tests.concurrency.racing import DRILL_S, Race
from tests.drills.counting import drill_count
from tests.factories import give_plan, make_account, make_key

RACERS = 16
ROUNDS = 3

pytestmark = pytest.mark.timeout(DRILL_S)


class Submits(Race):
    """Acts that open their own transaction, and whose outcome is what they return."""

    @staticmethod
    def _outcome(act: Callable[[], Any], refusals: tuple[type[Exception], ...]) -> Any:
        try:
            return act()
        except refusals as refusal:
            return type(refusal)


def tenants(**limits: Any) -> list[Account]:
    """One for each round, so that each begins with the same."""
    publish_prices()
    accounts = [make_account(f"racer-{number}") for number in range(drill_count(ROUNDS))]
    for account in accounts:
        give_plan(account, **PAID | limits)
    return accounts


def race(live: Studio, accounts: list[Account], *refusals: type[Exception]) -> list[Counter[Any]]:
    """What paid for each submit of a round, or why it was refused."""

    def acts_of(number: int) -> list[Any]:
        account = accounts[number]
        key = make_key(account).key
        racer = Studio(
            account=account,
            key=key,
            strangers_account=live.strangers_account,
            strangers_key=live.strangers_key,
            checkpoint=live.checkpoint,
        )
        return [lambda: str(racer.submit().funding)] * RACERS

    return Submits(RACERS).run(len(accounts), acts_of, refusals=refusals)


def test_each_source_pays_once_and_the_next_one_after_it(live: Studio) -> None:
    accounts = tenants(included_calls_per_month=1, free_calls_per_day=1)
    for account in accounts:
        fill_wallet(account, 2 * IMAGE_MICRO - 1)
        give_credit(account, IMAGE_MICRO)

    rounds = race(live, accounts, DailyQuotaExhausted)

    one_each = {"plan": 1, "daily_free": 1, "promo": 1, "wallet": 1, DailyQuotaExhausted: RACERS - 4}
    assert rounds == [Counter(one_each)] * len(accounts)
    assert [money_of(account) for account in accounts] == [(IMAGE_MICRO - 1, 0, 2 * IMAGE_MICRO, 0)] * len(
        accounts
    )
    assert_invariants_hold()


def test_the_last_money_has_one_winner(live: Studio) -> None:
    accounts = tenants()
    for account in accounts:
        fill_wallet(account, IMAGE_MICRO)

    rounds = race(live, accounts, PaymentRequired)

    assert rounds == [Counter({"wallet": 1, PaymentRequired: RACERS - 1})] * len(accounts)
    assert GenerationJob.objects.count() == len(accounts)


def test_a_hard_budget_lets_one_through_and_takes_nothing_of_the_others(live: Studio) -> None:
    accounts = tenants()
    for account in accounts:
        fill_wallet(account, 100 * IMAGE_MICRO)
        let_pay_later(account)
        set_budget(
            account=account,
            api_key=None,
            limit_micro=2 * IMAGE_MICRO - 1,
            is_hard=True,
            webhook_url="",
            actor=SYSTEM,
            now=clock.now(),
        )

    rounds = race(live, accounts, BudgetExhausted)

    assert rounds == [Counter({"wallet": 1, BudgetExhausted: RACERS - 1})] * len(accounts)
    left = (99 * IMAGE_MICRO, 0, IMAGE_MICRO, 0)
    assert [money_of(account) for account in accounts] == [left] * len(accounts)
    assert_invariants_hold()
