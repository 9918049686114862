"""Publishing prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Max

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.prices.models import Price, PriceBook
from apps.billing.prices.quoting import EVERY, Rate
from apps.core.db import take_transaction_lock
from apps.core.errors import InvalidField

MAX_RATE_MICRO: Final = 1_000_000_000_000
"""A million dollars: far above any price, far below what a 64-bit column holds for a call's total."""
MAX_INCLUDED_PIXELS: Final = 10**12


def publish_book(
    *, rates: Mapping[tuple[str, str], Rate], effective_at: datetime, note: str, actor: Ref, now: datetime
) -> PriceBook:
    """Add the next version of the prices, by kind and model. Calls accepted before keep theirs.

    Raises InvalidField for prices that are negative, fractional or absurd, for a book without a price for
    what has none of its own, and for one that is to count in the past.
    """
    _require_usable(rates)
    if effective_at < now:
        raise InvalidField(
            field="effective_at", problem="must not be in the past: prices never change afterwards"
        )
    with transaction.atomic(durable=True):
        take_transaction_lock("billing.prices")
        latest = PriceBook.objects.aggregate(version=Max("version"))["version"] or 0
        book = PriceBook(
            version=latest + 1,
            effective_at=effective_at,
            note=note,
            created_by=actor.label,
            created_at=now,
        )
        book.save(force_insert=True)
        rows = [{"kind": kind, "model": model, **asdict(rate)} for (kind, model), rate in rates.items()]
        Price.objects.bulk_create([Price(book=book, **row) for row in rows])
        audit.record(
            "billing.price_book.published",
            actor=actor,
            subject=book.ref,
            data={"effective_at": effective_at.isoformat(), "note": note, "prices": rows},
            now=now,
        )
    return book


def _require_usable(rates: Mapping[tuple[str, str], Rate]) -> None:
    if (EVERY, EVERY) not in rates:
        raise InvalidField(
            field="prices",
            problem="must have one for every kind and every model, for what has none of its own",
        )
    for key, rate in rates.items():
        for name, value in asdict(rate).items():
            limit = MAX_INCLUDED_PIXELS if name == "included_pixels" else MAX_RATE_MICRO
            # bool is an int to Python, never to a price.
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
                where = " and ".join(part or "every" for part in key)
                raise InvalidField(
                    field=name, problem=f"of {where} must be a whole number from 0 to {limit}, not {value!r}"
                )
