"""Jobs and GPU workers in the console."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from apps.artifacts.admin import image_html
from apps.audit.admin_bases import ReadOnlyAdmin
from apps.generation.models import GenerationJob, GpuWorker
from apps.generation.selectors import list_artifacts


@admin.register(GenerationJob)
class GenerationJobAdmin(ReadOnlyAdmin[GenerationJob]):
    list_display = [
        "id",
        "state",
        "account",
        "kind",
        "checkpoint",
        "prompt",
        "num_images",
        "queued_at",
        "took",
    ]
    list_select_related = ["account", "checkpoint"]
    list_filter = ["state", "account", "checkpoint"]
    search_fields = ["=id"]
    ordering = ["-id"]
    readonly_fields = ["images"]

    @admin.display
    def prompt(self, job: GenerationJob) -> str:
        return str(job.request.get("prompt", ""))[:60]

    @admin.display
    def took(self, job: GenerationJob) -> str:
        return f"{job.runtime_s:.1f} s" if job.runtime_s else "–"

    @admin.display
    def images(self, job: GenerationJob) -> SafeString:
        return format_html_join(" ", "{}", ((image_html(artifact),) for artifact in list_artifacts(job)))


@admin.register(GpuWorker)
class GpuWorkerAdmin(ReadOnlyAdmin[GpuWorker]):
    list_display = ["name", "state", "device_name", "runtime", "step_ms", "heartbeat_at"]
