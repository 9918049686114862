"""Usage events without the jobs that cause them."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.billing.choices import Source
from apps.billing.ledger.services import capture, hold
from apps.billing.services import record_usage


def use(
    account: Account,
    *,
    job_id: int,
    price_micro: int,
    now: datetime,
    source: str = Source.PAYG,
    is_captured: bool = False,
) -> None:
    """One delivered image of `account`; with `is_captured` the ledger has it as well."""
    with transaction.atomic():
        if is_captured:
            hold(
                account_id=account.pk, job_id=job_id, source=Source(source), amount_micro=price_micro, now=now
            )
            capture(job_id=job_id, amount_micro=price_micro, now=now)
        record_usage(
            job_id=job_id,
            account_id=account.pk,
            api_key_id=None,
            day=now.date(),
            calls=1,
            images=1,
            pixels=64 * 64,
            checkpoint="tiny",
            now=now,
            kind="txt2img",
            funding=Source(source),
            price_micro=price_micro,
            price_book_version=1,
        )
