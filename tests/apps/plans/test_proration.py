from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.plans.charging import discounted
from apps.plans.choices import CouponKind
from apps.plans.proration import add_months, period_after, prorated, upgrade_charge

START = datetime(2026, 3, 1, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)
MOMENTS = st.integers(-30 * 86_400, 60 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))
PRICES = st.integers(0, 10**12)


def test_half_of_the_time_is_half_of_the_price() -> None:
    middle = START + (END - START) / 2
    assert prorated(price_micro=47_000_000, start=START, end=END, since=middle) == 23_500_000


@pytest.mark.parametrize(
    ("since", "left"), [(START - timedelta(days=9), 31), (START, 31), (END, 0), (END + timedelta(days=9), 0)]
)
def test_nothing_is_left_at_the_end_and_all_before_the_start(since: datetime, left: int) -> None:
    assert prorated(price_micro=31, start=START, end=END, since=since) == left


def test_a_period_ends_after_it_starts() -> None:
    with pytest.raises(ValueError, match="must end after"):
        prorated(price_micro=1, start=END, end=START, since=START)


@given(price=PRICES, since=MOMENTS)
def test_a_part_is_never_more_than_the_whole_nor_negative(price: int, since: datetime) -> None:
    assert 0 <= prorated(price_micro=price, start=START, end=END, since=since) <= price


@given(price=PRICES, moments=st.lists(MOMENTS, min_size=2, max_size=2))
def test_later_is_never_dearer(price: int, moments: list[datetime]) -> None:
    earlier, later = sorted(moments)
    dear, cheap = (prorated(price_micro=price, start=START, end=END, since=each) for each in (earlier, later))
    assert cheap <= dear


@given(prices=st.lists(PRICES, min_size=3, max_size=3), now=MOMENTS)
def test_two_steps_up_cost_what_one_does(prices: list[int], now: datetime) -> None:
    """To the micro-dollar that rounding down takes at each step."""
    low, middle, high = sorted(prices)

    def step(old: int, new: int) -> int:
        return upgrade_charge(old_micro=old, new_micro=new, start=START, end=END, now=now)

    assert step(low, high) - 1 <= step(low, middle) + step(middle, high) <= step(low, high)


@given(old=PRICES, new=PRICES, now=MOMENTS)
def test_an_upgrade_never_pays_out(old: int, new: int, now: datetime) -> None:
    charge = upgrade_charge(old_micro=old, new_micro=new, start=START, end=END, now=now)
    assert 0 <= charge <= max(0, new - old)


@pytest.mark.parametrize(
    ("months", "expected"),
    [(1, (2026, 2, 28)), (2, (2026, 3, 31)), (3, (2026, 4, 30)), (25, (2028, 2, 29)), (12, (2027, 1, 31))],
)
def test_the_31st_comes_back_after_short_months(months: int, expected: tuple[int, int, int]) -> None:
    assert add_months(datetime(2026, 1, 31, 9, 30, tzinfo=UTC), months) == datetime(
        *expected, 9, 30, tzinfo=UTC
    )


@given(anchor=MOMENTS, months=st.integers(0, 40))
def test_periods_follow_each_other_without_gaps(anchor: datetime, months: int) -> None:
    end = add_months(anchor, months)
    assert period_after(anchor=anchor, end=end) == add_months(anchor, months + 1)


def test_after_an_end_between_the_monthly_days_comes_the_next_of_them() -> None:
    anchor = datetime(2026, 1, 31, tzinfo=UTC)
    assert period_after(anchor=anchor, end=datetime(2026, 3, 5, tzinfo=UTC)) == datetime(
        2026, 4, 30, tzinfo=UTC
    )


@given(amount=PRICES, percent=st.integers(1, 100))
def test_a_discount_leaves_something_between_nothing_and_all(amount: int, percent: int) -> None:
    left = discounted(amount, kind=CouponKind.PERCENT, value=percent)
    assert 0 <= left <= amount
    assert abs(left * 100 - amount * (100 - percent)) < 100


def test_an_amount_off_never_pays_out() -> None:
    assert discounted(5, kind=CouponKind.AMOUNT, value=9) == 0
    assert discounted(9, kind=CouponKind.AMOUNT, value=5) == 4
    assert discounted(9, kind=CouponKind.CREDIT, value=5) == 9
