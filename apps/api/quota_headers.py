"""Says in headers how much of the quota is left, and what pays. Bodies of the dialects never change for it.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10; the `X-RateLimit-*` names
are what existing clients read, with the reset in seconds from now: a client that takes it for a point in
time tries again early, which is harmless.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from apps.accounts.models import Account
from apps.core.clock import seconds_until
from apps.generation.models import GenerationJob
from apps.plans.entitlements import Entitlements, Unlimited
from apps.plans.selectors import get_entitlements
from apps.quotas.months import count_calls
from apps.quotas.periods import current_month, last_day, month_end
from apps.quotas.selectors import get_usage

DAY_S = 24 * 3600
# Those that may speak of several limits.
POLICIES = ("RateLimit-Policy", "RateLimit")
# How long a changed plan may go unnoticed by these headers; accepting a call always reads the plan itself.
PLAN_MEMORY_S = 5.0


@lru_cache(maxsize=4096)
def _remembered_entitlements(account: Account, period: int) -> Entitlements:
    return get_entitlements(account)


def forget_entitlements() -> None:
    """For whoever puts other accounts under the same ids: tests."""
    _remembered_entitlements.cache_clear()


def quota_headers(account: Account, *, now: datetime) -> dict[str, str]:
    """Headers for an answer to `account`; none for a plan without a limit. One query for each that it has."""
    entitlements = _remembered_entitlements(account, int(time.monotonic() / PLAN_MEMORY_S))
    of_day = _day_headers(account, entitlements, now)
    of_month = _month_headers(account, entitlements, now)
    if not (of_day and of_month):
        return of_day or of_month
    # Both limits stand in the first two; the names of older clients have room for the one that is nearer.
    both = {name: f"{of_day[name]}, {of_month[name]}" for name in POLICIES}
    return min(of_day, of_month, key=lambda headers: int(headers["X-RateLimit-Remaining"])) | both


def _day_headers(account: Account, entitlements: Entitlements, now: datetime) -> dict[str, str]:
    limit = entitlements.daily_calls
    if isinstance(limit, Unlimited):
        return {}
    usage = get_usage(account=account, entitlements=entitlements, now=now)
    return limit_headers(
        limit=limit,
        remaining=max(0, limit - usage.used - usage.reserved),
        reset_s=seconds_until(usage.resets_at, now=now),
    )


def _month_headers(account: Account, entitlements: Entitlements, now: datetime) -> dict[str, str]:
    limit = entitlements.calls_per_month
    if isinstance(limit, Unlimited):
        return {}
    month = current_month(now, zone=account.time_zone)
    return limit_headers(
        limit=limit,
        remaining=max(0, limit - count_calls(account=account, now=now)),
        reset_s=seconds_until(month_end(month, zone=account.time_zone), now=now),
        name="month",
        window_s=last_day(month).day * DAY_S,
    )


def limit_headers(
    *, limit: int, remaining: int, reset_s: int, name: str = "calls", window_s: int = DAY_S
) -> dict[str, str]:
    """The header set for known numbers."""
    return {
        "RateLimit-Policy": f'"{name}";q={limit};w={window_s}',
        "RateLimit": f'"{name}";r={remaining};t={reset_s}',
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(reset_s),
    }


def funding_headers(jobs: Sequence[GenerationJob]) -> dict[str, str]:
    """What pays for the jobs of an accepted call, each source once, and what they cost together."""
    if not jobs:
        return {}
    return {
        "Darkroom-Funding": ", ".join(dict.fromkeys(str(job.funding) for job in jobs)),
        "Darkroom-Price-Micro": str(sum(job.price_micro for job in jobs)),
    }
