"""What pays for a call, decided when it is accepted and settled when it ends.

The order is fixed: the plan's included calls, free calls of the day, promotional credit by expiry, the
wallet, pay as you go. One call has one funding: a credit that is smaller than the price is passed over. Rows
are locked in one order in every transaction: day, allowance, ledger, budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Final

from apps.accounts.models import Account
from apps.billing.choices import LEDGER_SOURCES, Source
from apps.billing.errors import PaymentRequired
from apps.billing.ledger import services as ledger
from apps.billing.ledger.together import capture_together, hold_together
from apps.billing.pay_later import may_pay_later
from apps.billing.prices.quoting import Quote
from apps.core.clock import day_end, quota_day
from apps.core.db import require_transaction
from apps.plans.entitlements import Entitlements, Unlimited
from apps.quotas.allowances import (
    TakenFrom,
    end_allowances,
    release_allowance,
    settle_allowance,
    take_daily_free,
    take_plan_allowance,
)
from apps.quotas.budgets import SpentBy, give_back_budgets, take_budget
from apps.quotas.errors import DailyQuotaExhausted

CALLS: Final = 1
TRIED_IN_ORDER: Final = tuple(Source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """What pays for one call, and how much; kept with its job."""

    source: Source
    price_micro: int = 0
    """0 unless the source is one of LEDGER_SOURCES."""
    period: date | None = None
    """Of the allowance: the first day of its period, or a day; None where nothing is counted."""
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
    job_ids: Callable[[], Sequence[int]],
    quotes: Sequence[Callable[[], Quote]],
    entitlements: Entitlements,
    now: datetime,
) -> list[Funding]:
    """Take what pays for calls that are accepted together, in their order; a part, after the quota's own.

    The jobs' ids and prices are asked for only where money is needed: calls that are included or free cost
    no statement for them, and where every call is included there is no statement at all. Raises
    PaymentRequired, DailyQuotaExhausted where the day's free calls come back, and BudgetExhausted; the
    caller's transaction must then be rolled back.
    """
    require_transaction()
    if isinstance(entitlements.included_calls_per_month, Unlimited):
        return [NO_MONEY] * len(quotes)
    free = _take_free(account, entitlements, len(quotes), now)
    prices = [quote() for quote in quotes[len(free) :]]
    amounts = {number: price.total_micro for number, price in enumerate(prices) if price.total_micro}
    if not amounts:
        sources = {}
    else:
        sources = _hold(account, entitlements, amounts, lambda: job_ids()[len(free) :], now)
        take_budget(account=account, api_key_id=api_key_id, amount_micro=sum(amounts.values()), now=now)
    return free + [
        Funding(
            source=sources.get(number, Source.PLAN),
            price_micro=price.total_micro,
            book_version=price.book_version,
        )
        for number, price in enumerate(prices)
    ]


def _take_free(account: Account, entitlements: Entitlements, calls: int, now: datetime) -> list[Funding]:
    """Of the first of so many calls."""
    found: list[Funding] = []
    for source, take in ((Source.PLAN, take_plan_allowance), (Source.DAILY_FREE, take_daily_free)):
        give = partial(take, account=account, entitlements=entitlements, now=now)
        found += _take_most(source, give, calls - len(found))
    return found


def _take_most(source: Source, give: Callable[..., date | None], calls: int) -> list[Funding]:
    """All at once where so many are left, else one by one until none is."""
    if not calls:
        return []
    period = give(calls=calls)
    if period is not None:
        return [Funding(source=source, period=period)] * calls
    found: list[Funding] = []
    while len(found) < calls - 1 and (period := give(calls=CALLS)) is not None:
        found.append(Funding(source=source, period=period))
    return found


def _hold(
    account: Account,
    entitlements: Entitlements,
    amounts: Mapping[int, int],
    job_ids: Callable[[], Sequence[int]],
    now: datetime,
) -> dict[int, Source]:
    """What pays, by the keys of `amounts`, which are places in `job_ids`. Raises as `fund`."""
    prices = list(amounts.values())

    def paid_ids() -> list[int]:
        ids = job_ids()
        return [ids[number] for number in amounts]

    chosen = hold_together(
        account_id=account.pk,
        prices=prices,
        job_ids=paid_ids,
        may_pay_later=lambda: may_pay_later(account.pk),
        now=now,
    )
    if len(chosen) < len(prices):
        unpaid = prices[len(chosen)]
        raise nothing_pays(account=account, entitlements=entitlements, price_micro=unpaid, now=now)
    return {number: each.source for number, each in zip(amounts, chosen, strict=True)}


def nothing_pays(
    *, account: Account, entitlements: Entitlements, price_micro: int, now: datetime
) -> PaymentRequired | DailyQuotaExhausted:
    """The refusal of a call that nothing pays for: waiting helps whoever has free calls, others must pay."""
    free = entitlements.free_calls_per_day
    if isinstance(free, int) and free >= CALLS:
        day = quota_day(now, zone=account.time_zone)
        return DailyQuotaExhausted(limit=free, resets_at=day_end(day, zone=account.time_zone), now=now)
    return PaymentRequired(price_micro=price_micro)


def turn_of(job: FundedJob) -> tuple[object, ...]:
    """Of jobs that end together: sorted by this, they lock rows in the order of `fund`.

    Allowances before ledgers; of each kind by account, and those of one account as they are tried.
    """
    source = job.funding.source
    return (
        source in LEDGER_SOURCES,
        job.account_id,
        TRIED_IN_ORDER.index(source),
        job.funding.period or date.min,
        job.job_id,
    )


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


def settle_captures(jobs: Iterable[FundedJob], *, now: datetime) -> set[int]:
    """Capture the prices of those jobs that money is held for, at once; ids of those that are done; a part.

    `settle` is for the others, and says what is wrong where something is.
    """
    return capture_together(
        {job.job_id: job.funding.price_micro for job in jobs if job.funding.source in LEDGER_SOURCES}, now=now
    )


def settle_counted(jobs: Iterable[FundedJob]) -> set[int]:
    """`settle` of those jobs that no money is held for, at once; ids of those that are done; a part.

    As with `settle_captures`, `settle` says of the others what is wrong.
    """
    return _end_counted(jobs, is_settled=True)


def give_back_counted(jobs: Iterable[FundedJob]) -> set[int]:
    """`give_back` of those jobs that no money is held for, at once; ids of those that are done; a part."""
    return _end_counted(jobs, is_settled=False)


def _end_counted(jobs: Iterable[FundedJob], *, is_settled: bool) -> set[int]:
    counted = [job for job in jobs if job.funding.source not in LEDGER_SOURCES]
    calls: Counter[TakenFrom] = Counter()
    for job in counted:
        if taken_from := _taken_from(job):
            calls[taken_from] += CALLS
    missing = end_allowances(calls, is_settled=is_settled)
    return {job.job_id for job in counted if _taken_from(job) not in missing}


def _taken_from(job: FundedJob) -> TakenFrom | None:
    """None for a call that nothing counts."""
    period = job.funding.period
    return None if period is None else TakenFrom(job.account_id, job.funding.source.value, period)


def give_back(job: FundedJob, *, now: datetime) -> None:
    """The job delivered nothing: what was taken for it goes back; a part. Raises as `settle`.

    But for its budgets, which are the last rows of all: see `give_back_spending`.
    """
    require_transaction()
    funding = job.funding
    if funding.source in LEDGER_SOURCES:
        ledger.release(job_id=job.job_id, now=now)
    elif funding.period is not None:
        release_allowance(
            account_id=job.account_id, source=funding.source.value, period=funding.period, calls=CALLS
        )


def give_back_spending(jobs: Iterable[FundedJob]) -> None:
    """What `give_back` leaves: the budgets that the jobs' money counted in; a part."""
    spent: Counter[SpentBy] = Counter()
    for job in jobs:
        if job.funding.source in LEDGER_SOURCES:
            spent[SpentBy(job.account_id, job.api_key_id, job.day)] += job.funding.price_micro
    if spent:
        give_back_budgets(spent)
