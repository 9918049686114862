"""Stored images."""

from __future__ import annotations

from pathlib import Path

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.artifacts import store
from apps.artifacts.media import MEDIA_TYPES


class Artifact(models.Model):
    """One image of one job. The file was on disk before this row was, and goes after it."""

    job_id = models.BigIntegerField(db_index=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    group = models.UUIDField(help_text="Names the job's files; chosen at submit, so links precede images.")
    index = models.PositiveSmallIntegerField()
    media_type = models.CharField(max_length=40)
    extension = models.CharField(max_length=10)
    size_bytes = models.PositiveBigIntegerField()
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    seed = models.BigIntegerField()
    created_at = models.DateTimeField()
    # Indexed for the purge, which asks for the oldest.
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["group", "index"], name="artifacts_artifact_unique"),
            models.CheckConstraint(
                condition=Q(extension__in=list(MEDIA_TYPES)), name="artifacts_artifact_extension_known"
            ),
            models.CheckConstraint(
                condition=Q(sha256__regex=r"^[0-9a-f]{64}$"), name="artifacts_artifact_sha256_shape"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.group}-{self.index}.{self.extension}"

    @property
    def file_path(self) -> Path:
        """Where the file lies: made from this row alone, never from the text of a URL."""
        return store.image_path(
            group=self.group, index=self.index, digest=self.sha256, extension=self.extension
        )
