from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.apikeys.models import ApiKey
from apps.core.errors import InvalidField, NotFound
from apps.mails.models import Mail
from apps.quotas.announcing import announce_refusal, announce_thresholds, budget_body, passed_thresholds
from apps.quotas.budgets import give_back_budget, remove_budget, set_budget, take_budget
from apps.quotas.errors import BudgetExhausted
from apps.quotas.models import Budget
from apps.quotas.selectors import list_budgets
from apps.webhooks.bodies import Event
from apps.webhooks.models import Delivery
from tests.cast import Cast
from tests.clocks import FrozenClock

DAY = date(2026, 3, 2)


def _set(cast: Cast, clock: FrozenClock, limit: int = 100, **fields: Any) -> Budget:
    chosen: dict[str, Any] = {"api_key": None, "is_hard": True, "webhook_url": ""} | fields
    return set_budget(account=cast.account, limit_micro=limit, actor=cast.ada.ref, now=clock.now(), **chosen)


def _take(cast: Cast, clock: FrozenClock, amount: int, key: ApiKey | None = None) -> None:
    with transaction.atomic():
        take_budget(
            account=cast.account, api_key_id=key.pk if key else None, amount_micro=amount, now=clock.now()
        )


def _give_back(cast: Cast, amount: int, key: ApiKey | None = None, day: date = DAY) -> None:
    give_back_budget(
        account_id=cast.account.pk, api_key_id=key.pk if key else None, amount_micro=amount, day=day
    )


def _spent() -> list[int]:
    return list(Budget.objects.order_by("pk").values_list("spent_micro", flat=True))


def test_a_hard_budget_is_never_overdrawn(cast: Cast, clock: FrozenClock) -> None:
    _set(cast, clock)
    _take(cast, clock, 60)
    with pytest.raises(BudgetExhausted) as refusal:
        _take(cast, clock, 41)
    assert (refusal.value.http_status, refusal.value.code) == (402, "budget_exhausted")
    assert refusal.value.resets_at == datetime(2026, 4, 1, tzinfo=UTC)
    _take(cast, clock, 40)
    assert _spent() == [100]


def test_a_soft_budget_lets_everything_through(cast: Cast, clock: FrozenClock) -> None:
    _set(cast, clock, is_hard=False)
    _take(cast, clock, 250)
    [found] = list_budgets(account=cast.account, now=clock.now())
    assert (found.spent_micro, found.remaining_micro, found.percent) == (250, 0, 250)


def test_a_key_spends_of_both_budgets_or_of_none(cast: Cast, clock: FrozenClock) -> None:
    _set(cast, clock)
    _set(cast, clock, 10, api_key=cast.key)
    _take(cast, clock, 10, cast.key)
    with pytest.raises(BudgetExhausted, match=r"0\.00001 USD"):
        _take(cast, clock, 1, cast.key)
    assert _spent() == [10, 10]
    _take(cast, clock, 90)
    assert _spent() == [100, 10]
    _give_back(cast, 10, cast.key)
    assert _spent() == [90, 0]


def test_a_new_month_begins_at_nothing(cast: Cast, clock: FrozenClock) -> None:
    _set(cast, clock)
    _take(cast, clock, 100)
    clock.advance(days=31)
    [found] = list_budgets(account=cast.account, now=clock.now())
    assert found.spent_micro == 0
    _take(cast, clock, 70)
    # What a call of last month gives back is not of this one.
    _give_back(cast, 50)
    assert _spent() == [70]


def test_without_a_budget_nothing_is_spent(cast: Cast, clock: FrozenClock) -> None:
    _take(cast, clock, 10**15, cast.key)
    _give_back(cast, 10**15)
    assert _spent() == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_budget_is_above_nothing(cast: Cast, clock: FrozenClock, limit: int) -> None:
    with pytest.raises(InvalidField, match="above 0"):
        _set(cast, clock, limit)


def test_a_strangers_key_has_no_budget_here(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(NotFound):
        _set(cast, clock, api_key=cast.strangers_key)
    theirs = _set(cast, clock)
    with pytest.raises(NotFound):
        remove_budget(
            account=cast.strangers_account, budget_id=theirs.pk, actor=cast.cleo.ref, now=clock.now()
        )
    remove_budget(account=cast.account, budget_id=theirs.pk, actor=cast.ada.ref, now=clock.now())
    assert _spent() == []


def test_a_webhook_must_be_one(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match="webhook"):
        _set(cast, clock, webhook_url="http://127.0.0.1/")
    assert _spent() == []


def test_each_threshold_is_told_once_a_month(cast: Cast, clock: FrozenClock) -> None:
    _set(cast, clock, 100_000_000, webhook_url="https://shop.example/budget")
    counts = []
    for amount in (49_000_000, 1_000_000, 40_000_000, 0, 10_000_000):
        _take(cast, clock, amount)
        counts.append(announce_thresholds(clock.now()))
    assert counts == [0, 1, 1, 0, 1]
    subjects = list(Mail.objects.order_by("pk").values_list("subject", flat=True))
    assert [text.split(" of the")[0] for text in subjects] == ["50 %", "80 %", "100 %"]
    # Ben is a developer: money is not his.
    assert all(mail.to == ["ada@example.com"] for mail in Mail.objects.all())
    bodies = [json.loads(bytes(row.body or b"")) for row in Delivery.objects.order_by("pk")]
    assert [body["data"]["percent"] for body in bodies] == [50, 80, 100]
    assert bodies[1]["type"] == "budget.threshold"
    assert bodies[1]["data"] == {
        "account": "ada",
        "key": None,
        "percent": 80,
        "spent_micro": 90_000_000,
        "limit_micro": 100_000_000,
        "currency": "usd",
        "is_hard": True,
        "month": "2026-03",
    }
    clock.advance(days=31)
    assert announce_thresholds(clock.now()) == 0
    _take(cast, clock, 60_000_000)
    assert announce_thresholds(clock.now()) == 1


def test_a_raised_budget_is_told_of_again(cast: Cast, clock: FrozenClock) -> None:
    _set(cast, clock, 100)
    _take(cast, clock, 100)
    assert announce_thresholds(clock.now()) == 3
    _set(cast, clock, 200)
    assert announce_thresholds(clock.now()) == 1
    assert Mail.objects.count() == 4


def test_a_refusal_before_anything_was_spent_is_told_once_a_month(cast: Cast, clock: FrozenClock) -> None:
    budget = _set(cast, clock, 100)
    _take(cast, clock, 60)
    clock.advance(days=31)
    counts = []
    for _ in range(2):
        with pytest.raises(BudgetExhausted) as refusal:
            _take(cast, clock, 101)
        counts.append(announce_refusal(budget_ids=refusal.value.budget_ids, now=clock.now()))
    assert (refusal.value.budget_ids, counts) == ((budget.pk,), [1, 0])
    assert Mail.objects.get().subject == "The monthly budget of Ada has refused a call"
    assert _spent() == [0]
    _take(cast, clock, 100)
    assert announce_thresholds(clock.now()) == 0


def test_of_two_budgets_the_one_that_refused_is_told_of(cast: Cast, clock: FrozenClock) -> None:
    _set(cast, clock, 1000)
    narrow = _set(cast, clock, 50, api_key=cast.key)
    with pytest.raises(BudgetExhausted) as refusal:
        _take(cast, clock, 60, key=cast.key)
    assert refusal.value.budget_ids == (narrow.pk,)


def test_a_message_whose_figures_are_gone_says_so(clock: FrozenClock) -> None:
    event = Event(event_id="msg_1", name="budget.threshold", job_id=None, created_at=clock.now())
    assert budget_body(event)["type"] == "budget.threshold"


@given(spent=st.integers(0, 300), limit=st.integers(1, 150), told=st.sampled_from([0, 50, 80, 100]))
def test_thresholds_are_told_in_order_and_never_again(spent: int, limit: int, told: int) -> None:
    found = passed_thresholds(spent_micro=spent, limit_micro=limit, told=told)
    assert found == sorted(found)
    assert all(told < each and spent * 100 >= limit * each for each in found)
    assert passed_thresholds(spent_micro=spent, limit_micro=limit, told=max([told, *found])) == []


STEPS = st.lists(st.tuples(st.sampled_from(["take", "give back"]), st.integers(1, 60)), max_size=15)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_sequence_counts_like_a_plain_number(
    cast: Cast, clock: FrozenClock, steps: list[tuple[str, int]]
) -> None:
    Budget.objects.all().delete()
    _set(cast, clock)
    spent, taken = 0, []
    for step, amount in steps:
        if step == "take":
            if spent + amount <= 100:
                _take(cast, clock, amount)
                spent += amount
                taken.append(amount)
            else:
                with pytest.raises(BudgetExhausted):
                    _take(cast, clock, amount)
        elif taken:
            back = taken.pop()
            _give_back(cast, back)
            spent -= back
    assert _spent() == [spent]
