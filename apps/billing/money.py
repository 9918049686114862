"""US dollars as whole micro-dollars: 1 USD is 1,000,000. Never a float, never a rounded amount.

Names of amounts end in `_micro`. Cents exist only where somebody else insists on them: Stripe, invoices.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from apps.core.errors import InvalidField
from apps.core.money import DECIMALS
from apps.core.money import MICRO_PER_USD as MICRO_PER_USD
from apps.core.money import format_usd as format_usd

MICRO_PER_CENT = 10_000
MAX_USD = 1_000_000_000
"""More than anybody pays, and far below what a 64-bit column holds."""

PLAIN_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?")


class Cents(NamedTuple):
    """An amount in whole cents and what is left of it: `micro == cents * 10_000 + remainder_micro`."""

    cents: int
    remainder_micro: int
    """Smaller than a cent, with the sign of the amount."""


def to_cents(micro: int) -> Cents:
    """Whole cents, towards zero, so that nobody is charged or refunded more than the amount."""
    cents, remainder = divmod(abs(micro), MICRO_PER_CENT)
    return Cents(-cents, -remainder) if micro < 0 else Cents(cents, remainder)


def from_cents(cents: int) -> int:
    """The same amount in micro-dollars."""
    return cents * MICRO_PER_CENT


def parse_usd(text: str, *, field: str = "amount") -> int:
    """Micro-dollars of what somebody typed, such as `12.34`.

    Raises InvalidField, naming `field`, for anything but digits with at most one point and six decimals:
    no sign, exponent, space, currency or thousands separator, and at most a billion dollars.
    """
    found = PLAIN_AMOUNT.fullmatch(text)
    if found is None:
        raise InvalidField(
            field=field, problem="must be an amount such as 12.34: digits, and at most 6 after one point"
        )
    whole, decimals = found.groups(default="")
    micro = int(whole) * MICRO_PER_USD + int(decimals.ljust(DECIMALS, "0"))
    if micro > MAX_USD * MICRO_PER_USD:
        raise InvalidField(field=field, problem=f"must be at most {MAX_USD:,} dollars")
    return micro
