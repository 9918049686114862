"""What is left of what was deleted."""

from __future__ import annotations

from django.db import models


class Tombstone(models.Model):
    """Proof that rows of one kind were purged together; holds nothing of what was in them."""

    kind = models.CharField(max_length=20)
    """"image", or "job" for the texts of one."""
    count = models.PositiveIntegerField()
    size_bytes = models.PositiveBigIntegerField(default=0)
    """Of the files that went."""
    ids_mac = models.CharField(max_length=22)
    """HMAC over the sorted primary keys, joined by commas: who has the list can show that these went."""
    first_due_at = models.DateTimeField()
    """When the oldest of them was due."""
    at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=models.Q(count__gte=1), name="retention_tombstone_of_some")
        ]

    def __str__(self) -> str:
        return f"{self.count} x {self.kind}, {self.at:%Y-%m-%d %H:%M:%S}"
