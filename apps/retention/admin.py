"""Tombstones in the console."""

from __future__ import annotations

from django.contrib import admin

from apps.audit.admin_bases import ReadOnlyAdmin
from apps.retention.models import Tombstone


@admin.register(Tombstone)
class TombstoneAdmin(ReadOnlyAdmin[Tombstone]):
    list_display = ["at", "kind", "count", "size_bytes", "first_due_at", "ids_mac"]
    list_filter = ["kind"]
