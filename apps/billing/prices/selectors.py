"""Which price book counts, and what is in it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from apps.billing.errors import PriceBookMissing
from apps.billing.prices.models import Price, PriceBook
from apps.billing.prices.quoting import Book, Rate


def book_at(moment: datetime) -> Book:
    """The book in effect at `moment`; one query as a rule. Raises PriceBookMissing."""
    found = find_book(moment)
    if found is None:
        raise PriceBookMissing
    return read_book(found.pk, found.version)


def find_book(moment: datetime) -> PriceBook | None:
    """The row of the book in effect at `moment`; None before the first."""
    # Of two that take effect at once the later one was meant to replace the earlier.
    return PriceBook.objects.filter(effective_at__lte=moment).order_by("-effective_at", "-version").first()


# By primary key, as books never change: a version could be another book's in a database made anew.
@lru_cache(maxsize=64)
def read_book(book_id: int, version: int) -> Book:
    """The prices of one book."""
    rates = {(price.kind, price.model): rate_of(price) for price in Price.objects.filter(book_id=book_id)}
    return Book(version=version, rates=rates)


def rate_of(price: Price) -> Rate:
    """The row as a value."""
    return Rate(
        per_call_micro=price.per_call_micro,
        per_image_micro=price.per_image_micro,
        per_megapixel_micro=price.per_megapixel_micro,
        included_pixels=price.included_pixels,
    )
