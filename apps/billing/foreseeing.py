"""What would pay for a call, as things stand: `funding.fund` without taking anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from apps.accounts.models import Account
from apps.billing.choices import LEDGER_SOURCES, Source
from apps.billing.funding import CALLS
from apps.billing.ledger.holds import promos_with
from apps.billing.ledger.selectors import balances
from apps.billing.pay_later import may_pay_later
from apps.billing.prices.quoting import Quote
from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.quotas.selectors import get_month, list_budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """The funding of a call that is not made yet; amounts in micro-USD."""

    source: Source | None
    """None: nothing would pay, and the call would be refused."""
    price_micro: int
    """What it would cost; where nothing would pay, what is missing."""
    balance_after_micro: int | None
    """Of wallet and promotional credit together; None where money plays no part."""


def foresee(
    *,
    account: Account,
    api_key_id: int | None,
    quote: Callable[[], Quote],
    entitlements: Entitlements,
    now: datetime,
) -> Foreseen:
    """What `fund` would decide. Where every call is included it asks nothing, the price least of all."""
    if isinstance(entitlements.included_calls_per_month, Unlimited):
        return Foreseen(source=Source.PLAN, price_micro=0, balance_after_micro=None)
    have = balances(account, now)
    balance_micro = have.wallet_micro + have.promo_micro
    free = _free_source(account, entitlements, now)
    price_micro = 0 if free else quote().total_micro
    if free or price_micro == 0:
        return Foreseen(source=free or Source.PLAN, price_micro=0, balance_after_micro=balance_micro)
    source = _paying_source(account, price_micro, wallet_micro=have.wallet_micro, now=now)
    if source is not None and _is_beyond_budget(account, api_key_id, price_micro, now):
        source = None
    is_prepaid = source in LEDGER_SOURCES - {Source.PAYG}
    return Foreseen(
        source=source,
        price_micro=price_micro,
        balance_after_micro=balance_micro - price_micro * is_prepaid,
    )


def _free_source(account: Account, entitlements: Entitlements, now: datetime) -> Source | None:
    month = get_month(account=account, entitlements=entitlements, now=now)
    if _is_left(month.included.remaining):
        return Source.PLAN
    return Source.DAILY_FREE if _is_left(month.free_today.remaining) else None


def _is_left(remaining: Limit) -> bool:
    return isinstance(remaining, Unlimited) or remaining >= CALLS


def _paying_source(account: Account, price_micro: int, *, wallet_micro: int, now: datetime) -> Source | None:
    if promos_with(account.pk, price_micro, now=now).exists():
        return Source.PROMO
    if wallet_micro >= price_micro:
        return Source.WALLET
    return Source.PAYG if may_pay_later(account.pk) else None


def _is_beyond_budget(account: Account, api_key_id: int | None, price_micro: int, now: datetime) -> bool:
    """Whether a hard budget of the account or of the key has too little left."""
    return any(
        found.budget.is_hard
        and found.budget.api_key_id in (None, api_key_id)
        and found.remaining_micro < price_micro
        for found in list_budgets(account=account, now=now)
    )
