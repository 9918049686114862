"""Jobs and GPU workers in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.artifacts.admin import image_html
from apps.audit.admin_bases import ActsAdmin, ReadOnlyAdmin, actor_of
from apps.core import clock
from apps.generation import devices
from apps.generation.models import DedicatedDevice, GenerationJob, GpuWorker
from apps.generation.selectors import list_artifacts

TIMELINE = {
    "queued_s": "waiting for its first step in the worker",
    "load_s": "loading weights",
    "before_s": "preparing pictures",
    "encode_s": "encoding prompts and pictures",
    "denoise_s": "first to last step",
    "decode_s": "decoding",
    "after_s": "working on images",
    "encode_image_s": "making image files",
    "total_s": "total in the worker",
    "store_s": "storing",
}
"""Parts of `GenerationJob.timings` as operators read them."""


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
    # Not by checkpoint: the list of a large catalogue would be longer than the page.
    list_filter = ["state", "account"]
    search_fields = ["=id", "=checkpoint__name"]
    ordering = ["-id"]
    readonly_fields = ["timeline", "images"]
    exclude = ["timings"]

    @admin.display
    def prompt(self, job: GenerationJob) -> str:
        return str(job.request.get("prompt", ""))[:60]

    @admin.display
    def took(self, job: GenerationJob) -> str:
        return f"{job.runtime_s:.1f} s" if job.runtime_s else "–"

    @admin.display
    def timeline(self, job: GenerationJob) -> str:
        """Where the job's time went, in the order in which it was spent."""
        spent = [(title, job.timings[name]) for name, title in TIMELINE.items() if name in job.timings]
        rows = ((title, f"{seconds:.3f} s") for title, seconds in spent)
        cells = format_html_join("", "<tr><td>{}</td><td>{}</td></tr>", rows)
        return format_html("<table>{}</table>", cells) if cells else "–"

    @admin.display
    def images(self, job: GenerationJob) -> SafeString:
        return format_html_join(" ", "{}", ((image_html(artifact),) for artifact in list_artifacts(job)))


@admin.register(GpuWorker)
class GpuWorkerAdmin(ReadOnlyAdmin[GpuWorker]):
    list_display = ["name", "state", "device_name", "runtime", "weights_on_device", "step_ms", "heartbeat_at"]
    readonly_fields = ["held_weights", "weights_on_device"]
    exclude = ["weights", "weights_bytes", "weights_budget_bytes", "resident"]

    @admin.display(description="weights on the device")
    def weights_on_device(self, worker: GpuWorker) -> str:
        return f"{worker.weights_bytes / 1e6:,.0f} of {worker.weights_budget_bytes / 1e6:,.0f} MB"

    @admin.display(description="checkpoints in memory")
    def held_weights(self, worker: GpuWorker) -> str:
        rows = (
            (
                weights["name"],
                weights["family"],
                weights["residency"] + (", pinned" if weights["is_pinned"] else ""),
                f"{weights['size_bytes'] / 1e6:,.1f} MB",
                f"unused for {weights['idle_s']:,.0f} s",
            )
            for weights in worker.weights
        )
        cells = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
        return format_html("<table>{}</table>", cells) if cells else "none"


@admin.register(DedicatedDevice)
class DedicatedDeviceAdmin(ActsAdmin[DedicatedDevice]):
    """Known workers are offered to choose from; an account without the entitlement is refused."""

    list_display = ["worker", "account", "created_at"]
    list_select_related = ["worker", "account"]
    fields = ["worker", "account"]
    actions = ["give_back"]

    def has_change_permission(self, request: HttpRequest, obj: DedicatedDevice | None = None) -> bool:
        """Another account means: given back, and kept anew."""
        return False

    def save_model(self, request: HttpRequest, obj: DedicatedDevice, form: Any, change: bool) -> None:
        kept = devices.keep_device(
            account=obj.account, worker=obj.worker, actor=actor_of(request), now=clock.now()
        )
        obj.pk = kept.pk

    @admin.action(description="Give back: everybody's jobs may run there again", permissions=["view"])
    def give_back(self, request: HttpRequest, kept: QuerySet[DedicatedDevice]) -> None:
        for device in kept:
            devices.give_device_back(device=device, actor=actor_of(request), now=clock.now())
