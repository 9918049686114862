"""What pays for a call, decided when it is accepted and settled when it ends.

The order is fixed: the plan's included calls, free calls of the day, promotional credit by expiry, the
wallet, pay as you go. One call has one funding: a credit that is smaller than the price is passed over. Rows
are locked in one order in every transaction: day, allowance, ledger, budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from apps.accounts.models import Account
from apps.billing.choices import LEDGER_SOURCES, Source
from apps.billing.errors import PaymentRequired
from apps.billing.ledger import services as ledger
from apps.billing.ledger.errors import InsufficientFunds
from apps.billing.pay_later import may_pay_later
from apps.billing.prices.quoting import Quote
from apps.core.clock import day_end, quota_day
from apps.core.db import require_transaction
from apps.plans.entitlements import Entitlements, Unlimited
from apps.quotas.allowances import (
    release_allowance,
    settle_allowance,
    take_daily_free,
    take_plan_allowance,
)
from apps.quotas.budgets import give_back_budget, take_budget
from apps.quotas.errors import DailyQuotaExhausted

CALLS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """What pays for one call, and how much; kept with its job."""

    source: Source
    price_micro: int = 0
    """0 unless the source is one of LEDGER_SOURCES."""
    period: date | None = None
    """Of the allowance: a month's first day, or a day; None where nothing is counted."""
    book_version: int | None = None
    """Of the price; None where none was asked."""


NO_MONEY: Final = Funding(source=Source.PLAN)
"""Of accounts whose plan includes every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FundedJob:
    """What ending a job's funding needs to know of it."""

    job_id: int
    account_id: int
    api_key_id: int | None
    day: date
    """Its quota day."""
    funding: Funding


def fund(
    *,
    account: Account,
    api_key_id: int | None,
    job_id: Callable[[], int],
    quote: Callable[[], Quote],
    entitlements: Entitlements,
    now: datetime,
) -> Funding:
    """Take what pays for one call; a part, after the quota's own.

    The job's id and price are asked for only where money is needed: calls that are included or free cost
    no statement for them, and where every call is included there is no statement at all. Raises
    PaymentRequired, DailyQuotaExhausted where the day's free calls come back, and BudgetExhausted; the
    caller's transaction must then be rolled back.
    """
    require_transaction()
    if isinstance(entitlements.included_calls_per_month, Unlimited):
        return NO_MONEY
    free = _take_free(account, entitlements, now)
    if free is not None:
        return free
    price = quote()
    if price.total_micro == 0:
        return Funding(source=Source.PLAN, book_version=price.book_version)
    source = _hold(account.pk, job_id(), price.total_micro, now)
    if source is None:
        raise nothing_pays(account=account, entitlements=entitlements, price_micro=price.total_micro, now=now)
    take_budget(account=account, api_key_id=api_key_id, amount_micro=price.total_micro, now=now)
    return Funding(source=source, price_micro=price.total_micro, book_version=price.book_version)


def _take_free(account: Account, entitlements: Entitlements, now: datetime) -> Funding | None:
    for source, take in ((Source.PLAN, take_plan_allowance), (Source.DAILY_FREE, take_daily_free)):
        period = take(account=account, entitlements=entitlements, calls=CALLS, now=now)
        if period is not None:
            return Funding(source=source, period=period)
    return None


def _hold(account_id: int, job_id: int, amount_micro: int, now: datetime) -> Source | None:
    """The first source that has enough, which is then held for the job."""
    for source in (Source.PROMO, Source.WALLET):
        try:
            ledger.hold(
                account_id=account_id, job_id=job_id, source=source, amount_micro=amount_micro, now=now
            )
        except InsufficientFunds:
            continue
        return source
    if not may_pay_later(account_id):
        return None
    ledger.hold(account_id=account_id, job_id=job_id, source=Source.PAYG, amount_micro=amount_micro, now=now)
    return Source.PAYG


def nothing_pays(
    *, account: Account, entitlements: Entitlements, price_micro: int, now: datetime
) -> PaymentRequired | DailyQuotaExhausted:
    """The refusal of a call that nothing pays for: waiting helps whoever has free calls, others must pay."""
    free = entitlements.free_calls_per_day
    if isinstance(free, int) and free >= CALLS:
        day = quota_day(now, zone=account.time_zone)
        return DailyQuotaExhausted(limit=free, resets_at=day_end(day, zone=account.time_zone), now=now)
    return PaymentRequired(price_micro=price_micro)


def settle(job: FundedJob, *, now: datetime) -> None:
    """The job delivered: count its call, or capture its price; a part.

    Raises ReservationMissing, HoldMissing, HoldEnded.
    """
    require_transaction()
    funding = job.funding
    if funding.source in LEDGER_SOURCES:
        ledger.capture(job_id=job.job_id, amount_micro=funding.price_micro, now=now)
    elif funding.period is not None:
        settle_allowance(
            account_id=job.account_id, source=funding.source.value, period=funding.period, calls=CALLS
        )


def give_back(job: FundedJob, *, now: datetime) -> None:
    """The job delivered nothing: what was taken for it goes back; a part. Raises as `settle`."""
    require_transaction()
    funding = job.funding
    if funding.source in LEDGER_SOURCES:
        ledger.release(job_id=job.job_id, now=now)
        give_back_budget(
            account_id=job.account_id,
            api_key_id=job.api_key_id,
            amount_micro=funding.price_micro,
            day=job.day,
        )
    elif funding.period is not None:
        release_allowance(
            account_id=job.account_id, source=funding.source.value, period=funding.period, calls=CALLS
        )
