"""What a request would take and cost, without submitting it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.billing.foreseeing import foresee
from apps.generation.charges import Charge, foreseen
from apps.generation.pricing import quote_of
from apps.generation.queueing import queue_tag
from apps.generation.request import GenerationRequest
from apps.generation.selectors import estimate_new_s
from apps.generation.services import job_for
from apps.plans.selectors import get_entitlements

CURRENCY: Final = "usd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Charge):
    """Of one request, as things stand."""

    seconds: float
    """Until it would be done, the queue included."""
    price_micro: int
    """Millionths of a dollar that it would cost; where nothing would pay for it, what is missing."""
    currency: str
    """Always `usd`."""
    funding: str | None
    """What would pay: plan, daily_free, promo, wallet or pay_as_you_go; null if it would be refused."""
    balance_after_micro: int | None
    """Wallet and promotional credit after it; null where the plan includes every call."""


def estimate(*, account: Account, api_key: ApiKey, request: GenerationRequest, now: datetime) -> Estimate:
    """Reserves nothing. Raises as `submit_generation` does, but for quota, queue and money."""
    entitlements = get_entitlements(account, now=now)
    job = job_for(account=account, api_key=api_key, request=request, now=now, entitlements=entitlements)
    job.queue_tag = queue_tag(job)
    money = foresee(
        account=account,
        api_key_id=api_key.pk,
        quote=lambda: quote_of(job, entitlements, now=now),
        entitlements=entitlements,
        now=now,
    )
    return Estimate(
        **asdict(foreseen(job.resolved)),
        seconds=estimate_new_s(job=job, now=now),
        price_micro=money.price_micro,
        currency=CURRENCY,
        funding=money.source.value if money.source else None,
        balance_after_micro=money.balance_after_micro,
    )
