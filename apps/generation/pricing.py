"""What a job costs: its charge by the price book, or by the price of the account's plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache, partial
from typing import Final

from django.db import connection

from apps.accounts.models import Account
from apps.billing.funding import Funding, fund
from apps.billing.prices.quoting import Book, Quote, quote
from apps.billing.prices.selectors import book_at
from apps.generation.charges import foreseen
from apps.generation.models import GenerationJob
from apps.plans.entitlements import Entitlements

NEXT_IDS: Final = """
SELECT nextval(pg_get_serial_sequence('generation_generationjob', 'id')) FROM generate_series(1, %s)
"""


def quote_of(job: GenerationJob, entitlements: Entitlements, *, now: datetime) -> Quote:
    """The price of what the job will deliver, whoever pays; one query. Raises PriceBookMissing."""
    return quote_by(book_at(now), job, entitlements)


def quote_by(book: Book, job: GenerationJob, entitlements: Entitlements) -> Quote:
    """`quote_of` by this book. Pure."""
    charge = foreseen(job.resolved)
    return quote(
        book,
        kind=job.kind,
        model=job.request["checkpoint"],
        images=charge.images,
        pixels=charge.pixels,
        price_per_image_micro=entitlements.price_per_image_micro,
    )


def fund_jobs(
    jobs: Sequence[GenerationJob], account: Account, entitlements: Entitlements, *, now: datetime
) -> None:
    """Take what pays for unsaved jobs of one key, and note it there; a part. Raises as `fund`.

    Where money is held for one of them all have their ids from here on.
    """

    def job_ids() -> list[int]:
        ids = _next_job_ids(len(jobs))
        for job, pk in zip(jobs, ids, strict=True):
            job.pk = pk
        return ids

    book = cache(lambda: book_at(now))

    def quote_one(job: GenerationJob) -> Quote:
        return quote_by(book(), job, entitlements)

    fundings = fund(
        account=account,
        api_key_id=jobs[0].api_key_id,
        job_ids=job_ids,
        quotes=[partial(quote_one, job) for job in jobs],
        entitlements=entitlements,
        now=now,
    )
    for job, funding in zip(jobs, fundings, strict=True):
        note_funding(job, funding)


def note_funding(job: GenerationJob, funding: Funding) -> None:
    """Into the row's columns, unsaved."""
    job.funding = funding.source
    job.price_micro = funding.price_micro
    job.price_book_version = funding.book_version
    job.funding_period = funding.period


def _next_job_ids(count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(NEXT_IDS, [count])
        return [row[0] for row in cursor.fetchall()]
