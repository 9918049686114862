"""The same request once more, as the portal's own, whoever asked for it first."""

from __future__ import annotations

import json
from datetime import datetime

from apps.accounts.models import Membership
from apps.api.native.jobs_translation import read_asked, take_request
from apps.apikeys.portal import portal_key
from apps.core.errors import InvalidField
from apps.generation.idempotency import make_claim
from apps.generation.models import GenerationJob
from apps.generation.services import submit_generation
from apps.portal.playground.again import fields_of_job


def retry_job(
    job: GenerationJob, *, membership: Membership, token: str, path: str, now: datetime
) -> GenerationJob:
    """A new job; with the same token the same. Pictures must still be there, and paid for it is anew.

    Raises as `submit_generation`, and InvalidField for pictures that are gone.
    """
    fields = fields_of_job(job)
    if not fields:
        raise InvalidField(field="request", problem="of this job cannot be read by this version")
    claim = make_claim(key=f"portal-{token}", method="POST", path=path, body=json.dumps(fields).encode())
    return submit_generation(
        account=membership.account,
        api_key=portal_key(account=membership.account, now=now),
        request=take_request(read_asked(fields), account_id=membership.account_id, now=now),
        client_options={},
        track_id=job.track_id,
        now=now,
        idempotency=claim,
    )
