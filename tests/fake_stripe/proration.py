"""What a change in the middle of a period comes to, by the second."""

from __future__ import annotations

from decimal import Decimal

from tests.fake_stripe.products import whole_cents


def share(amount: int, *, start: int, end: int, at: int) -> int:
    """Cents of `amount`, the price of the whole period, for the part of it after `at`.

    Raises ValueError for a period that is empty or that `at` lies outside of.
    """
    if not start <= at <= end or start == end:
        raise ValueError(f"{at} is not within {start} to {end}")
    return whole_cents(Decimal(amount * (end - at)) / (end - start))
