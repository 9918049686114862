"""Jobs that one request of this dialect submits: all of them or none, and once for each Idempotency-Key.

A request may make several jobs: one a picture, or a detector's map beside the images. The caller's key stands
for the first of them, and keys made of it for the others, so that a repeat finds each again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from django.http import HttpRequest, HttpResponse

from apps.api.a1111.jobs import Kept
from apps.api.bodies import read_body
from apps.api.quota_headers import funding_headers, quota_headers
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.generation.idempotency import IdempotencyClaim, find_record, make_claim
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.services import Wanted, submit_together

DIALECT: Final = "a1111"
HEADER: Final = "Idempotency-Key"

Asked = tuple[GenerationRequest, Kept]
"""A job to make, and what is kept with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Who asks, and what makes a repeat of it the same."""

    key: ApiKey
    claim: IdempotencyClaim | None
    """None without an Idempotency-Key: the caller can come back for nothing."""
    is_repeat: bool
    """Whether an earlier request with the same Idempotency-Key made the jobs."""

    @classmethod
    def of(cls, http: HttpRequest, key: ApiKey) -> Self:
        """Raises InvalidIdempotencyKey, and IdempotencyMismatch for a key that another request had."""
        text = http.headers.get(HEADER)
        if text is None:
            return cls(key=key, claim=None, is_repeat=False)
        claim = make_claim(key=text, method="POST", path=http.path, body=read_body(http))
        earlier = find_record(account_id=key.account_id, claim=claim)
        return cls(key=key, claim=claim, is_repeat=earlier is not None)

    @property
    def is_fetchable(self) -> bool:
        """Whether the caller can come back for what is made while it is away."""
        return self.claim is not None

    def claim_of(self, number: int) -> IdempotencyClaim | None:
        """Of one of its jobs, counted from 0."""
        if self.claim is None or number == 0:
            return self.claim
        part = sha256(f"{self.claim.key}\0{number}".encode()).hexdigest()
        return IdempotencyClaim(key=f"{DIALECT}-part-{part}", fingerprint=self.claim.fingerprint)


def submit_all(submission: Submission, wanted: Sequence[Asked]) -> list[GenerationJob]:
    """Queue all or none; for a repeat, those that the first request made. Raises as `submit_generation`."""
    claims = [submission.claim_of(number) for number in range(len(wanted))]
    earlier = _made_before(submission, claims)
    if earlier:
        return earlier
    together = [
        Wanted(request=request, client_options={"dialect": DIALECT, **kept}, idempotency=claim)
        for (request, kept), claim in zip(wanted, claims, strict=True)
    ]
    key = submission.key
    return submit_together(account=key.account, api_key=key, wanted=together, now=clock.now())


def _made_before(submission: Submission, claims: Sequence[IdempotencyClaim | None]) -> list[GenerationJob]:
    """All of them or none: models may have gone since, which is no reason to refuse what is made."""
    if not submission.is_repeat:
        return []
    records = [find_record(account_id=submission.key.account_id, claim=claim) for claim in claims if claim]
    jobs = [record.job for record in records if record is not None and record.job is not None]
    return jobs if len(jobs) == len(claims) else []


def with_headers(
    response: HttpResponse, submission: Submission, jobs: Sequence[GenerationJob]
) -> HttpResponse:
    """The first of its jobs, what pays, what is left of the quota, and whether it is an answer of before."""
    if jobs:
        response.headers["X-Darkroom-Job"] = str(jobs[0].pk)
    for name, value in (
        funding_headers(jobs) | quota_headers(submission.key.account, now=clock.now())
    ).items():
        response.headers[name] = value
    if submission.is_repeat:
        response.headers["Idempotent-Replayed"] = "true"
    return response
