"""Checkpoints in the console. `manage.py register_checkpoint` adds new ones, since it reads their files."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from apps.audit.admin_bases import ActsAdmin, actor_of
from apps.catalog import services
from apps.catalog.models import CatalogEntry
from apps.core import clock


@admin.register(CatalogEntry)
class CheckpointAdmin(ActsAdmin[CatalogEntry]):
    list_display = ["name", "title", "family", "native_px", "visibility", "is_enabled", "size"]
    list_filter = ["family", "is_enabled", "visibility"]
    search_fields = ["name", "title"]
    readonly_fields = ["name", "family", "path", "digest", "size_bytes", "native_px", "created_at"]

    # What Django 6 does by itself.
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(ordering="size_bytes")
    def size(self, checkpoint: CatalogEntry) -> str:
        return f"{checkpoint.size_bytes / 1e6:,.1f} MB"

    def save_model(self, request: HttpRequest, obj: CatalogEntry, form: Any, change: bool) -> None:
        services.change_checkpoint(checkpoint=obj, actor=actor_of(request), now=clock.now())
