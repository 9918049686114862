"""What calls cost beyond a plan, from the price book, in words for customers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from apps.billing.prices.models import Price
from apps.billing.prices.selectors import find_book
from apps.generation.choices import Kind
from apps.portal.playground.words import KINDS

MEGAPIXEL = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPrice:
    """One line of the price list; amounts in micro-USD."""

    kind: str
    model: str
    per_call_micro: int
    per_image_micro: int
    per_megapixel_micro: int
    """For each megapixel of an image beyond `included`; 0 where the size changes nothing."""
    included: str
    """How many megapixels the price of an image includes."""


def list_prices(*, now: datetime) -> list[ListedPrice]:
    """The book in effect, what is for everything last; empty before the first. Two queries."""
    book = find_book(now)
    if book is None:
        return []
    rows = Price.objects.filter(book=book)
    return [
        _listed(price)
        for price in sorted(
            rows, key=lambda price: (not price.kind, price.kind, not price.model, price.model)
        )
    ]


def _listed(price: Price) -> ListedPrice:
    known = price.kind in Kind.values
    title = str(KINDS[Kind(price.kind)][0]) if known and Kind(price.kind) in KINDS else price.kind
    return ListedPrice(
        kind=title or _("all others"),
        model=price.model or _("all others"),
        per_call_micro=price.per_call_micro,
        per_image_micro=price.per_image_micro,
        per_megapixel_micro=price.per_megapixel_micro,
        included=_megapixels(price.included_pixels) if price.per_megapixel_micro else _("any size"),
    )


def _megapixels(pixels: int) -> str:
    digits = 0 if pixels % MEGAPIXEL == 0 else 2
    return _("%(pixels)s megapixels") % {"pixels": number_format(pixels / MEGAPIXEL, digits)}
