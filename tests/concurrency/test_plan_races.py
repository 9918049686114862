"""Many who want the last one of something: a unit of a month, a cent of a budget, a coupon, a plan, a seat.

DARKROOM_DRILL_COUNT sets the rounds (the drill: 1,000). The last test is the control.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier

import pytest
from django.db import transaction

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.accounts.seats import lock_account, require_seat
from apps.audit.refs import SYSTEM
from apps.core.errors import DomainError
from apps.plans.coupons import redeem_coupon, save_coupon
from apps.plans.entitlements import UNLIMITED, Entitlements
from apps.plans.models import Coupon, Plan, PlanCharge, Redemption
from apps.plans.selectors import get_entitlements
from apps.plans.subscriptions import change_plan, start_subscription, start_trial
from apps.quotas.allowances import take_plan_allowance
from apps.quotas.budgets import give_back_budget, take_budget
from apps.quotas.models import Allowance, Budget, MonthlyKeyUsage, MonthlyUsage
from apps.quotas.services import reserve_calls
from tests.apps.generation.studio import PATIENCE_S
from tests.concurrency.racing import DRILL_S, Act, Track
from tests.drills.counting import drill_count
from tests.factories import give_plan, make_account, make_key, make_plan

ROUNDS = drill_count(5)
CALLERS = 8
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(DRILL_S)]


class NotLetIn(Exception):
    """Of an act that answers None where there is nothing left."""


@pytest.fixture
def track(transactional_db: None) -> Iterator[Track]:
    with Track(CALLERS).open() as racers:
        yield racers


def winners(track: Track, acts: Sequence[Act]) -> int:
    """How many of a round were let through; whatever is no refusal fails the test."""
    return track.race(acts, DomainError, NotLetIn)[None]


def _atomically(part: Callable[[], object]) -> Callable[[], object]:
    def attempt() -> object:
        with transaction.atomic():
            return part()

    return attempt


def test_the_last_call_of_a_month_has_one_winner(track: Track) -> None:
    account = make_account(now=NOW)
    key = make_key(account, monthly_cap=ROUNDS).key

    def reserve(limit: int) -> object:
        return reserve_calls(
            account=account, count=1, limit=UNLIMITED, now=NOW, api_key=key, month_limit=limit
        )

    for number in range(ROUNDS):
        assert winners(track, [_atomically(partial(reserve, number + 1))] * CALLERS) == 1
    assert MonthlyUsage.objects.get().calls == MonthlyKeyUsage.objects.get().calls == ROUNDS


def test_the_last_call_of_a_key_has_one_winner(track: Track) -> None:
    account = make_account(now=NOW)
    for number in range(ROUNDS):
        key = make_key(account, name=str(number), monthly_cap=1).key
        reserve = _atomically(
            partial(reserve_calls, account=account, count=1, limit=UNLIMITED, now=NOW, api_key=key)
        )
        assert winners(track, [reserve] * CALLERS) == 1
    assert set(MonthlyKeyUsage.objects.values_list("calls", flat=True)) == {1}


def test_the_last_included_call_has_one_winner(track: Track) -> None:
    account = make_account(now=NOW)
    for number in range(ROUNDS):
        give_plan(account, included_calls_per_month=number + 1)
        entitlements = get_entitlements(account, now=NOW)

        def take(entitlements: Entitlements = entitlements) -> None:
            with transaction.atomic():
                if take_plan_allowance(account=account, entitlements=entitlements, calls=1, now=NOW) is None:
                    raise NotLetIn

        assert winners(track, [take] * CALLERS) == 1
    assert Allowance.objects.get().reserved == ROUNDS


def test_a_hard_budget_has_one_winner_and_is_never_overdrawn(track: Track) -> None:
    """The account's and the key's are spent together, while others give back: nobody waits for ever."""
    account = make_account(now=NOW)
    key = make_key(account).key
    common = {"account": account, "month": NOW.date().replace(day=1), "created_at": NOW}
    whole = Budget.objects.create(limit_micro=100, **common)
    of_key = Budget.objects.create(api_key=key, limit_micro=100, **common)

    def take() -> None:
        take_budget(account=account, api_key_id=key.pk, amount_micro=60, now=NOW)

    def give_back() -> None:
        give_back_budget(account_id=account.pk, api_key_id=key.pk, amount_micro=60, day=NOW.date())

    for _ in range(ROUNDS):
        assert winners(track, [_atomically(take)] * CALLERS) == 1
        for budget in (whole, of_key):
            budget.refresh_from_db()
            assert budget.spent_micro == 60
        winners(track, [_atomically(give_back)] + [_atomically(take)] * (CALLERS - 1))
        Budget.objects.update(spent_micro=0)


def test_the_last_coupon_has_one_winner(track: Track) -> None:
    accounts = [make_account(f"a{number}", now=NOW) for number in range(CALLERS)]
    for number in range(ROUNDS):
        coupon = Coupon(code=f"LAST-{number}", kind="credit", value=10, max_redemptions=1)
        save_coupon(coupon=coupon, actor=SYSTEM, now=NOW)
        attempts: list[Callable[[], object]] = [
            partial(redeem_coupon, account=account, code=coupon.code, actor=SYSTEM, now=NOW)
            for account in accounts
        ]
        assert winners(track, attempts) == 1
        coupon.refresh_from_db()
        assert (coupon.redemptions, Redemption.objects.filter(coupon=coupon).count()) == (1, 1)


def test_an_account_redeems_once_however_often_it_clicks(track: Track) -> None:
    account = make_account(now=NOW)
    for number in range(ROUNDS):
        coupon = Coupon(code=f"TWICE-{number}", kind="credit", value=1_000_000)
        save_coupon(coupon=coupon, actor=SYSTEM, now=NOW)
        click = partial(redeem_coupon, account=account, code=coupon.code, actor=SYSTEM, now=NOW)
        assert winners(track, [click] * CALLERS) == 1
        coupon.refresh_from_db()
        assert coupon.redemptions == 1


def _priced(code: str, price_micro: int) -> Plan:
    make_plan(code, is_default=False)
    Plan.objects.filter(code=code).update(price_micro=price_micro, trial_days=7)
    return Plan.objects.get(code=code)


def test_of_two_tabs_one_upgrades_and_one_charge_is_made(track: Track) -> None:
    make_plan()
    small, large = _priced("small", 10), _priced("large", 1_000_000)
    for number in range(ROUNDS):
        account = make_account(f"tabs-{number}", now=NOW)
        row = start_subscription(account=account, plan=small, actor=SYSTEM, now=NOW)
        later = NOW + timedelta(days=1)
        upgrade = partial(change_plan, subscription=row, plan=large, seen_revision=1, actor=SYSTEM, now=later)
        assert winners(track, [upgrade] * 4) == 1
        assert PlanCharge.objects.filter(account=account).count() == 2


def test_a_company_gets_one_trial(track: Track) -> None:
    make_plan()
    plan = _priced("tried", 10)
    for number in range(ROUNDS):
        accounts = [_owned(f"co-{number}-{each}", f"co{number}.example") for each in range(4)]
        attempts: list[Callable[[], object]] = [
            partial(start_trial, account=account, plan=plan, actor=SYSTEM, now=NOW) for account in accounts
        ]
        assert winners(track, attempts) == 1


def _owned(slug: str, domain: str) -> Account:
    account = make_account(slug, now=NOW)
    owner = User.objects.create(email=f"{slug}@{domain}", date_joined=NOW)
    Membership.objects.create(account=account, user=owner, role=Role.OWNER, created_at=NOW)
    return account


def test_the_last_seat_has_one_winner(track: Track) -> None:
    make_plan()
    for number in range(ROUNDS):
        account = _owned(f"seats-{number}", f"seats{number}.example")
        give_plan(account, seats=2)
        guests = [
            User.objects.create(email=f"g{each}@seats{number}.example", date_joined=NOW)
            for each in range(CALLERS)
        ]

        def sit(guest: User, account: Account = account) -> object:
            with transaction.atomic():
                require_seat(lock_account(account), with_invitations=False)
                return Membership.objects.create(
                    account=account, user=guest, role=Role.VIEWER, created_at=NOW
                )

        assert winners(track, [partial(sit, guest) for guest in guests]) == 1
        assert Membership.objects.filter(account=account).count() == 2


def test_control_reading_before_writing_lets_everybody_through(track: Track) -> None:
    """The races are real: without the limit in the WHERE clause all of them win."""
    account = make_account(now=NOW)
    budget = Budget.objects.create(
        account=account, limit_micro=100, month=NOW.date().replace(day=1), created_at=NOW
    )
    gate = Barrier(CALLERS)

    def read_then_write() -> None:
        row = Budget.objects.get(pk=budget.pk)
        has_room = row.spent_micro + 60 <= row.limit_micro
        gate.wait(PATIENCE_S)
        Budget.objects.filter(pk=budget.pk).update(spent_micro=row.spent_micro + 60)
        if not has_room:
            raise NotLetIn

    assert winners(track, [read_then_write] * CALLERS) == CALLERS
