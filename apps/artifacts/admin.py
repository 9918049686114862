"""Stored images in the console."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.artifacts.links import thumbnail_path
from apps.artifacts.models import Artifact
from apps.audit.admin_bases import ReadOnlyAdmin
from apps.core import clock


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin[Artifact]):
    list_display = ["thumbnail", "job_id", "index", "account", "size", "seed", "created_at", "expires_at"]
    list_select_related = ["account"]
    list_filter = ["account"]
    search_fields = ["=job_id", "=group"]
    ordering = ["-id"]
    readonly_fields = ["thumbnail"]

    @admin.display
    def thumbnail(self, artifact: Artifact) -> SafeString:
        return image_html(artifact)

    @admin.display
    def size(self, artifact: Artifact) -> str:
        return f"{artifact.width}×{artifact.height}, {artifact.size_bytes / 1e3:,.0f} kB"


def image_html(artifact: Artifact) -> SafeString:
    """The image, small, leading to itself at full size."""
    path = thumbnail_path(
        group=artifact.group, index=artifact.index, extension=artifact.extension, now=clock.now()
    )
    return format_html(
        '<a href="{0}"><img src="{0}" alt="Image {1} of job {2}" width="72" height="72" loading="lazy" '
        'style="object-fit:cover;border-radius:6px"></a>',
        path,
        artifact.index,
        artifact.job_id,
    )
