"""An account's money and this month's usage by key, as the native API says them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypedDict

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.billing.ledger.selectors import Balances, balances
from apps.billing.usage import Report, usage_report
from apps.core.clock import quota_day
from apps.quotas.periods import current_month

CURRENCY: Final = "usd"


class KeySpending(TypedDict):
    """Delivered this calendar month with one key; null is of calls without one."""

    key: str | None
    calls: int
    images: int
    price_micro: int


class Money(TypedDict):
    """Millionths of a US dollar. `spent_micro` is of what was delivered this calendar month."""

    currency: str
    wallet_micro: int
    promo_micro: int
    held_micro: int
    owed_micro: int
    spent_micro: int
    keys: list[KeySpending]


def money_of(account: Account, *, now: datetime) -> Money:
    """As things stand; three queries, whatever the account has used."""
    zone = account.time_zone
    month = usage_report(account=account, first=current_month(now, zone=zone), last=quota_day(now, zone=zone))
    used = ApiKey.objects.filter(pk__in=[key for key in month.by_key if key is not None])
    names = dict(used.values_list("pk", "prefix"))
    return _body(balances(account, now), month, names)


def _body(have: Balances, month: Report, names: Mapping[int, str]) -> Money:
    return {
        "currency": CURRENCY,
        "wallet_micro": have.wallet_micro,
        "promo_micro": have.promo_micro,
        "held_micro": have.held_micro,
        "owed_micro": have.receivable_micro + have.invoiced_micro + have.disputed_micro,
        "spent_micro": month.total.price_micro,
        "keys": [
            {
                "key": None if key is None else names[key],
                "calls": totals.calls,
                "images": totals.images,
                "price_micro": totals.price_micro,
            }
            for key, totals in sorted(month.by_key.items(), key=lambda pair: pair[0] or 0)
        ],
    }
