"""The prices that the appliance is shipped with."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from apps.audit.refs import Ref
from apps.billing.prices.models import PriceBook
from apps.billing.prices.quoting import Rate
from apps.billing.prices.services import publish_book

SHIPPED: Final = Path(__file__).parent.parent / "fixtures" / "prices.json"


def publish_shipped_prices(*, actor: Ref, now: datetime) -> bool:
    """The first price book, unless there is one; whether it was published."""
    if PriceBook.objects.exists():
        return False
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    publish_book(
        rates=rates_of(shipped["prices"]), effective_at=now, note=shipped["note"], actor=actor, now=now
    )
    return True


def rates_of(prices: list[dict[str, Any]]) -> dict[tuple[str, str], Rate]:
    """By kind and model, from JSON (hence Any)."""
    return {(price["kind"], price["model"]): _rate(price) for price in prices}


def _rate(price: dict[str, Any]) -> Rate:
    return Rate(**{name: value for name, value in price.items() if name not in ("kind", "model")})
