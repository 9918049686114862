"""US dollars as whole micro-dollars: 1 USD is 1,000,000. Never a float, never a rounded amount."""

from __future__ import annotations

MICRO_PER_USD = 1_000_000
DECIMALS = 6


def format_usd(micro: int, *, digits: int = 2) -> str:
    """`-$1,234.50`: at least `digits` decimals, and as many more as the amount needs to be exact."""
    return f"{'-' if micro < 0 else ''}${format_dollars(abs(micro), digits=digits)}"


def format_dollars(micro: int, *, digits: int = 2) -> str:
    """`1,234.50`, for where the currency is said otherwise; of an amount that is not negative."""
    whole, fraction = divmod(micro, MICRO_PER_USD)
    decimals = f"{fraction:0{DECIMALS}d}".rstrip("0").ljust(digits, "0")
    return f"{whole:,}.{decimals}" if decimals else f"{whole:,}"
