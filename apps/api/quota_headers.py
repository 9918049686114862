"""Says in headers how much of the daily quota is left. Bodies of the dialects never change for it.

`RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10; the `X-RateLimit-*` names
are what existing clients read, with the reset in seconds from now: a client that takes it for a point in
time tries again early, which is harmless.
"""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache

from apps.accounts.models import Account
from apps.core.clock import seconds_until
from apps.plans.entitlements import Entitlements, Unlimited
from apps.plans.selectors import get_entitlements
from apps.quotas.selectors import get_usage

DAY_S = 24 * 3600
# How long a changed plan may go unnoticed by these headers; accepting a call always reads the plan itself.
PLAN_MEMORY_S = 5.0


@lru_cache(maxsize=4096)
def _remembered_entitlements(account: Account, period: int) -> Entitlements:
    return get_entitlements(account)


def quota_headers(account: Account, *, now: datetime) -> dict[str, str]:
    """Headers for an answer to `account`; none for a plan without a daily limit. One query as a rule."""
    entitlements = _remembered_entitlements(account, int(time.monotonic() / PLAN_MEMORY_S))
    if isinstance(entitlements.calls_per_day, Unlimited):
        return {}
    usage = get_usage(account=account, entitlements=entitlements, now=now)
    return limit_headers(
        limit=entitlements.calls_per_day,
        remaining=max(0, entitlements.calls_per_day - usage.used - usage.reserved),
        reset_s=seconds_until(usage.resets_at, now=now),
    )


def limit_headers(*, limit: int, remaining: int, reset_s: int) -> dict[str, str]:
    """The header set for known numbers."""
    return {
        "RateLimit-Policy": f'"calls";q={limit};w={DAY_S}',
        "RateLimit": f'"calls";r={remaining};t={reset_s}',
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(reset_s),
    }
