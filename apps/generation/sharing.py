"""Pictures under links of their own, without a job: what was uploaded to be named in requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from django.db import transaction

from apps.accounts.models import Account
from apps.artifacts.media import EXTENSIONS
from apps.artifacts.models import Artifact
from apps.artifacts.services import NewArtifact, record_artifacts
from apps.artifacts.store import write_image
from apps.core.errors import Conflict, InvalidField
from apps.generation.picture_store import picture_bytes
from apps.generation.wishes import StoredPicture

NO_JOB: Final = 0
"""`Artifact.job_id` of pictures that no job made."""
LIFETIME: Final = timedelta(hours=24)
MAX_BYTES: Final = 5_000_000
MAX_SHARED: Final = 1000
"""Of one account at once: uploads cost nothing, and disks are not endless."""


def share_picture(picture: StoredPicture, *, account: Account, now: datetime) -> Artifact:
    """A copy that its link shows for 24 hours. Raises InvalidField above 5 MB, Conflict above 1000."""
    if picture.size_bytes > MAX_BYTES:
        problem = f"must be at most {MAX_BYTES // 1_000_000} MB as PNG, not {picture.size_bytes} bytes"
        raise InvalidField(field="image", problem=problem)
    if Artifact.objects.filter(account=account, job_id=NO_JOB, expires_at__gt=now).count() >= MAX_SHARED:
        raise Conflict(
            problem=f"{MAX_SHARED} uploaded pictures are stored already; each is deleted after 24 hours."
        )
    group, extension = uuid4(), EXTENSIONS[picture.media_type]
    file = write_image(group=group, index=0, extension=extension, data=picture_bytes(picture.digest))
    new = NewArtifact(
        index=0, extension=extension, file=file, width=picture.width, height=picture.height, seed=0
    )
    with transaction.atomic(durable=True):
        [artifact] = record_artifacts(
            job_id=NO_JOB,
            account_id=account.pk,
            group=group,
            artifacts=[new],
            now=now,
            expires_at=(now + LIFETIME).replace(microsecond=0),
        )
    return artifact
