"""Amounts: written exactly, read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.billing.money import MAX_USD, MICRO_PER_USD, Cents, format_usd, from_cents, parse_usd, to_cents
from apps.core.errors import InvalidField


@pytest.mark.parametrize(
    ("micro", "digits", "text"),
    [
        (0, 2, "$0.00"),
        (12_340_000, 2, "$12.34"),
        (2_000, 2, "$0.002"),
        (1, 2, "$0.000001"),
        (-1_234_500_000, 2, "-$1,234.50"),
        (47_000_000, 0, "$47"),
        (47_500_000, 0, "$47.5"),
        (2_000, 4, "$0.0020"),
    ],
)
def test_amounts_are_written_with_every_decimal_they_have(micro: int, digits: int, text: str) -> None:
    assert format_usd(micro, digits=digits) == text


@pytest.mark.parametrize(
    ("micro", "cents"),
    [
        (0, Cents(0, 0)),
        (12_345_678, Cents(1234, 5678)),
        (9_999, Cents(0, 9_999)),
        (-12_345_678, Cents(-1234, -5678)),
    ],
)
def test_cents_are_rounded_towards_zero(micro: int, cents: Cents) -> None:
    assert to_cents(micro) == cents
    assert from_cents(cents.cents) + cents.remainder_micro == micro


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("12.34", 12_340_000),
        ("0", 0),
        ("0.000001", 1),
        ("7.5", 7_500_000),
        ("1000000000", MAX_USD * MICRO_PER_USD),
    ],
)
def test_plain_amounts_are_read(text: str, micro: int) -> None:
    assert parse_usd(text) == micro


@pytest.mark.parametrize(
    "text",
    [
        "", "-1", "+1", "1e3", "1E3", " 1", "1 ", "1.", ".5", "1.2345678", "12,34", "1,000", "1_000", "0x10",
        "NaN", "inf", "٣", "١٢.٣٤", "１", "$1", "1.2.3", "007", "1\n", "1000000000.01", "99999999999",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="price must be"):
        parse_usd(text, field="price")


@given(st.integers(min_value=0, max_value=MAX_USD * MICRO_PER_USD))
def test_what_is_written_is_read_again(micro: int) -> None:
    assert parse_usd(format_usd(micro).replace("$", "").replace(",", "")) == micro
