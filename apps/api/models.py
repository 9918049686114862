"""What the API keeps for its callers, besides their jobs."""

from __future__ import annotations

from django.db import models

from apps.apikeys.models import ApiKey


class A1111Options(models.Model):
    """Settings that clients of the AUTOMATIC1111 dialect have changed; here they are those of one key."""

    api_key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="+")
    values = models.JSONField(default=dict)
    """By their names; what is missing has its default, see `a1111/options.py`."""

    def __str__(self) -> str:
        return f"options of key {self.api_key_id}"
