"""How many open jobs an account and each of its keys may have; beyond that a submit is refused."""

from __future__ import annotations

from typing import Final

from django.db.models import Count, Q

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.core.db import require_transaction
from apps.generation.choices import OPEN_STATES
from apps.generation.errors import QueueFull
from apps.generation.models import GenerationJob
from apps.plans.entitlements import Entitlements, Unlimited

# What a caller over the queue limit is told to wait; the contract's own figure.
QUEUE_RETRY_S: Final = 30


def require_queue_room(
    account: Account, entitlements: Entitlements, api_key: ApiKey | None, *, count: int = 1
) -> None:
    """Part: raises QueueFull where the plan or the key allows fewer further jobs. At most one query.

    Exact because the account's quota row is locked by this transaction, so its submits come one by one,
    whatever their keys.
    """
    require_transaction()
    whole = None if isinstance(entitlements.queue_depth, Unlimited) else entitlements.queue_depth
    of_key = None if api_key is None else api_key.queue_depth
    if whole is None and of_key is None:
        return
    counts = {"whole": Count("pk")}
    if of_key is not None:
        counts["of_key"] = Count("pk", filter=Q(api_key=api_key))
    found = GenerationJob.objects.filter(account=account, state__in=OPEN_STATES).aggregate(**counts)
    for name, limit in (("whole", whole), ("of_key", of_key)):
        if limit is not None and found[name] + count > limit:
            raise QueueFull(limit=limit, seconds=QUEUE_RETRY_S, retry_after_s=QUEUE_RETRY_S)
