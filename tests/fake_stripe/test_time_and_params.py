"""Ends of periods, shares of periods and form-encoded parameters, each by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_stripe.clock import next_boundary
from tests.fake_stripe.errors import Refusal
from tests.fake_stripe.params import merge_metadata, parse
from tests.fake_stripe.proration import share

ANCHORS = st.integers(min_value=1_500_000_000, max_value=2_000_000_000)
INTERVALS = st.sampled_from(["day", "week", "month", "year"])


def at(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp())


def test_months_keep_the_anchors_day() -> None:
    anchor = at(2027, 1, 31, 8)
    ends = [anchor]
    for _ in range(4):
        ends.append(next_boundary(anchor, ends[-1], interval="month", count=1))
    assert ends[1:] == [at(2027, 2, 28, 8), at(2027, 3, 31, 8), at(2027, 4, 30, 8), at(2027, 5, 31, 8)]


def test_a_leap_day_comes_again() -> None:
    anchor = at(2028, 2, 29)
    assert next_boundary(anchor, anchor, interval="year", count=1) == at(2029, 2, 28)
    assert next_boundary(anchor, at(2031, 3, 1), interval="year", count=1) == at(2032, 2, 29)


@given(anchor=ANCHORS, later=st.integers(0, 90_000_000), interval=INTERVALS, count=st.integers(1, 3))
def test_the_next_end_is_the_first_that_is_later(anchor: int, later: int, interval: str, count: int) -> None:
    end = next_boundary(anchor, anchor + later, interval=interval, count=count)
    assert end > anchor + later
    assert next_boundary(anchor, end - 1, interval=interval, count=count) == end


@given(amount=st.integers(0, 10_000_000), start=ANCHORS, length=st.integers(1, 32_000_000), data=st.data())
def test_both_parts_of_a_period_are_the_whole_to_a_cent(
    amount: int, start: int, length: int, data: st.DataObject
) -> None:
    moment = start + data.draw(st.integers(0, length))
    rest = share(amount, start=start, end=start + length, at=moment)
    gone = share(amount, start=start, end=start + length, at=start + start + length - moment)
    assert 0 <= rest <= amount
    assert abs(rest + gone - amount) <= 1


def test_a_moment_outside_of_the_period_is_an_error() -> None:
    with pytest.raises(ValueError, match="not within"):
        share(100, start=10, end=20, at=21)


def test_parameters_become_a_tree() -> None:
    sent = {"items[0][price]": "price_1", "items[1][price]": "price_2", "metadata[a]": "1", "active": "true"}
    params = parse(urlencode(sent))
    assert [row.text("price") for row in params.rows("items")] == ["price_1", "price_2"]
    assert (params.table("metadata"), params.flag("active")) == ({"a": "1"}, True)
    assert sorted(params.flat()) == ["active", "items.price", "items.price", "metadata.a"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [("amount=1.5", "Invalid integer"), ("amount=", None), ("amount=x", "Invalid integer")],
)
def test_what_is_no_whole_number_is_refused(sent: str, words: str | None) -> None:
    if words is None:
        assert parse(sent).whole("amount") is None
        return
    with pytest.raises(Refusal, match=words):
        parse(sent).whole("amount")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("&".join(f"metadata[k{n}]=1" for n in range(51)), "up to 50 keys"),
        (f"metadata[{'k' * 41}]=1", "too long"),
        (f"metadata[k]={'v' * 501}", "too long"),
    ],
)
def test_metadata_has_limits(sent: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        merge_metadata({}, parse(sent))
