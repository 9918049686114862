"""What a job costs: its charge by the price book, or by the price of the account's plan."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from apps.accounts.models import Account
from apps.billing.funding import Funding, fund
from apps.billing.prices.quoting import Quote, quote
from apps.billing.prices.selectors import book_at
from apps.generation.charges import foreseen
from apps.generation.models import GenerationJob
from apps.plans.entitlements import Entitlements


def quote_of(job: GenerationJob, entitlements: Entitlements, *, now: datetime) -> Quote:
    """The price of what the job will deliver, whoever pays; one query. Raises PriceBookMissing."""
    charge = foreseen(job.resolved)
    return quote(
        book_at(now),
        kind=job.kind,
        model=job.request["checkpoint"],
        images=charge.images,
        pixels=charge.pixels,
        price_per_image_micro=entitlements.price_per_image_micro,
    )


def fund_job(job: GenerationJob, account: Account, entitlements: Entitlements, *, now: datetime) -> None:
    """Take what pays for an unsaved job, and note it there; a part. Raises as `fund`.

    Where money is held for it the job has its id from here on.
    """

    def job_id() -> int:
        job.pk = _next_job_id()
        return int(job.pk)

    funding = fund(
        account=account,
        api_key_id=job.api_key_id,
        job_id=job_id,
        quote=lambda: quote_of(job, entitlements, now=now),
        entitlements=entitlements,
        now=now,
    )
    note_funding(job, funding)


def note_funding(job: GenerationJob, funding: Funding) -> None:
    """Into the row's columns, unsaved."""
    job.funding = funding.source
    job.price_micro = funding.price_micro
    job.price_book_version = funding.book_version
    job.funding_period = funding.period


def _next_job_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('generation_generationjob', 'id'))")
        return int(cursor.fetchone()[0])
