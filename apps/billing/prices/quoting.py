"""What a call costs by a price book. Pure: the same figures give the same price, before and after."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PIXELS_OF_MEGAPIXEL: Final = 1_000_000
EVERY: Final = ""
"""In place of a kind or a model: whatever has no price of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One price; amounts in micro-USD."""

    per_call_micro: int = 0
    per_image_micro: int = 0
    per_megapixel_micro: int = 0
    """For each million pixels of an image beyond `included_pixels`; a part of a micro-dollar counts whole."""
    included_pixels: int = 0
    """Of each image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One version of the prices."""

    version: int
    rates: Mapping[tuple[str, str], Rate]
    """By kind and model; there is always one for EVERY kind and EVERY model."""

    def rate(self, *, kind: str, model: str) -> Rate:
        """The most particular one: a model's price goes before a kind's."""
        for key in ((kind, model), (EVERY, model), (kind, EVERY)):
            if key in self.rates:
                return self.rates[key]
        return self.rates[EVERY, EVERY]


class Unit(enum.StrEnum):
    """What is counted."""

    CALL = "call"
    IMAGE = "image"
    PIXEL = "pixel"
    """Beyond those that an image's price includes; its unit price is that of a megapixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteLine:
    """One part of a price."""

    unit: Unit
    quantity: int
    unit_micro: int
    amount_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The price of one call."""

    book_version: int
    lines: tuple[QuoteLine, ...]
    """Those that cost something."""

    @property
    def total_micro(self) -> int:
        return sum(line.amount_micro for line in self.lines)


def quote(
    book: Book,
    *,
    kind: str,
    model: str,
    images: int,
    pixels: int,
    price_per_image_micro: int | None = None,
) -> Quote:
    """The price of one call that delivers `images` images of `pixels` pixels together.

    `price_per_image_micro` is a plan's or contract's own price: of any image, by any model and of any size.
    Calls without images have the book's price all the same.
    """
    rate = book.rate(kind=kind, model=model)
    if price_per_image_micro is not None and images:
        rate = Rate(per_image_micro=price_per_image_micro)
    lines = (
        _line(Unit.CALL, 1, rate.per_call_micro),
        _line(Unit.IMAGE, images, rate.per_image_micro),
        _pixels_line(rate, images=images, pixels=pixels),
    )
    return Quote(book_version=book.version, lines=tuple(line for line in lines if line.amount_micro))


def _line(unit: Unit, quantity: int, unit_micro: int) -> QuoteLine:
    return QuoteLine(unit=unit, quantity=quantity, unit_micro=unit_micro, amount_micro=quantity * unit_micro)


def _pixels_line(rate: Rate, *, images: int, pixels: int) -> QuoteLine:
    """The images of a call are all of one size; rounded up once, over all of them."""
    beyond = max(0, pixels - images * rate.included_pixels)
    return QuoteLine(
        unit=Unit.PIXEL,
        quantity=beyond,
        unit_micro=rate.per_megapixel_micro,
        amount_micro=-(-beyond * rate.per_megapixel_micro // PIXELS_OF_MEGAPIXEL),
    )
