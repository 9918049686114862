"""An account tries a plan once in its life, and buys out of a trial once, however many ask at once.

DARKROOM_DRILL_COUNT sets the rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.audit.refs import SYSTEM
from apps.plans.errors import SubscriptionConflict
from apps.plans.models import Plan, PlanCharge, Subscription, TrialClaim
from apps.plans.subscriptions import cancel_subscription, change_plan, start_trial
from tests.apps.generation.studio import Crew
from tests.drills.counting import drill_count
from tests.factories import make_account, make_plan

ROUNDS = 5
CALLERS = 8
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


def offer(code: str, price_micro: int) -> Plan:
    make_plan(code, is_default=False)
    Plan.objects.filter(code=code).update(price_micro=price_micro, trial_days=7)
    return Plan.objects.get(code=code)


def owned(number: int) -> Account:
    """With an owner of a company of its own."""
    account = make_account(f"one-{number}", now=NOW)
    owner = User.objects.create(email=f"owner@one{number}.example", date_joined=NOW)
    Membership.objects.create(account=account, user=owner, role=Role.OWNER, created_at=NOW)
    return account


def refusals(act: Callable[[], object], callers: int) -> Counter[type[BaseException]]:
    """What became of those who were not let through, all at once."""
    crew = Crew()
    crew.run(*[act] * callers)
    return Counter(type(error) for error in crew.errors)


def test_an_account_gets_one_trial_ever() -> None:
    make_plan()
    plan = offer("tried", 10)
    for number in range(drill_count(ROUNDS)):
        account = owned(number)
        attempt: Callable[[], object] = partial(
            start_trial, account=account, plan=plan, actor=SYSTEM, now=NOW
        )
        assert refusals(attempt, CALLERS) == {SubscriptionConflict: CALLERS - 1}
        # Nor another one when the first has ended.
        row = Subscription.objects.get(account=account)
        cancel_subscription(subscription=row, seen_revision=1, actor=SYSTEM, now=NOW, at_once=True)
        assert refusals(attempt, 2) == {SubscriptionConflict: 2}
    assert TrialClaim.objects.count() == drill_count(ROUNDS)


def test_two_tabs_that_buy_out_of_a_trial_pay_once() -> None:
    make_plan()
    plan, large = offer("tried", 10), offer("large", 1_000_000)
    for number in range(drill_count(ROUNDS)):
        account = owned(number)
        row = start_trial(account=account, plan=plan, actor=SYSTEM, now=NOW)
        upgrade: Callable[[], object] = partial(
            change_plan,
            subscription=row,
            plan=large,
            seen_revision=1,
            actor=SYSTEM,
            now=NOW + timedelta(days=1),
        )
        assert refusals(upgrade, CALLERS) == {SubscriptionConflict: CALLERS - 1}
        assert PlanCharge.objects.get(account=account).amount_micro == 1_000_000
