"""Money for tests: prices, wallets and credit, made by the product's own services."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from typing import Any, Final

from django.db import transaction

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.billing.ledger import services as ledger
from apps.billing.ledger.selectors import balances
from apps.billing.pay_later import set_pay_as_you_go
from apps.billing.prices.models import PriceBook
from apps.billing.prices.quoting import Rate
from apps.billing.prices.services import publish_book
from apps.core import clock
from tests.apps.generation.studio import Studio

IMAGE_MICRO: Final = 2000
"""An image by `publish_prices`."""
PAID: Final[dict[str, Any]] = {
    "included_calls_per_month": 0,
    "calls_per_day": "unlimited",
    "queue_depth": "unlimited",
}
"""Limits of a plan whose every call costs money."""

_numbers = count(1)


def publish_prices(image_micro: int = IMAGE_MICRO, *, caption_micro: int = 1000) -> PriceBook:
    """A book that counts at once."""
    now = clock.now()
    return publish_book(
        rates={
            ("", ""): Rate(per_image_micro=image_micro, per_megapixel_micro=500, included_pixels=10_000),
            ("caption", ""): Rate(per_call_micro=caption_micro),
        },
        effective_at=now,
        note="",
        actor=SYSTEM,
        now=now,
    )


def fill_wallet(account: Account, micro: int) -> None:
    with transaction.atomic():
        ledger.top_up(
            account_id=account.pk,
            amount_micro=micro,
            key=f"test:{next(_numbers)}:{account.slug}",
            memo="",
            now=clock.now(),
        )


def give_credit(account: Account, micro: int, *, expires_at: datetime | None = None) -> None:
    with transaction.atomic():
        ledger.grant(
            account_id=account.pk,
            amount_micro=micro,
            expires_at=expires_at,
            key=f"test:{next(_numbers)}:{account.slug}",
            memo="",
            actor=SYSTEM,
            now=clock.now(),
        )


def let_pay_later(account: Account, *, is_allowed: bool = True) -> None:
    with transaction.atomic():
        set_pay_as_you_go(account=account, is_allowed=is_allowed, actor=SYSTEM, now=clock.now())


def money_of(account: Account) -> tuple[int, int, int, int]:
    """Wallet, promotional credit, held, owed; micro-USD."""
    found = balances(account, clock.now())
    return found.wallet_micro, found.promo_micro, found.held_micro, found.receivable_micro


def paid_by(studio: Studio, **fields: object) -> str:
    """What a new job is paid with; `fields` are of its request."""
    return studio.submit(**fields).funding  # type: ignore[arg-type]
