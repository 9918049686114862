"""How far the caller's own request is, and stopping it."""

from __future__ import annotations

import base64
from typing import Final

from django.http import HttpResponse
from rest_framework.request import Request

from apps.api.a1111.errors import BadField
from apps.api.a1111.fields import NAME
from apps.api.a1111.jobs import (
    batch_of_job,
    cancel,
    current_job,
    job_of_task,
    jobs_beside,
    kept_of,
    open_jobs,
)
from apps.api.a1111.readers import YES, Whole
from apps.api.a1111.render import TIMESTAMP
from apps.api.a1111.views import A1111View, answer
from apps.api.readers import BadValue
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.generation.choices import JobState
from apps.generation.models import GenerationJob
from apps.generation.selectors import estimate_s, find_preview

WAITING: Final = "Waiting..."
STARTED: Final = 0.01
"""Progress of a job that has begun and done no step yet, as there: 0 is for nothing to do."""
PREVIEW_TYPE: Final = "image/jpeg"
PREVIEW_ID: Final = Whole(lowest=-1, highest=2**31 - 1)


class ProgressView(A1111View):
    """Of the caller's own request, whatever others are doing."""

    def get(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.JOBS_READ)
        job = current_job(key)
        skips_image = http.GET.get("skip_current_image", "").strip().lower() in YES
        picture = None if skips_image or job is None else _preview(job)
        return answer(
            {
                "progress": _share_of_all(job) if job else 0.0,
                "eta_relative": estimate_s(job=job, now=clock.now()) if job else 0.0,
                "state": _state(job),
                "current_image": picture,
                "textinfo": WAITING if job is not None and job.state == JobState.QUEUED else None,
                "current_task": (kept_of(job).get("task_id") or None) if job else None,
            }
        )


def _share(job: GenerationJob) -> float:
    """0 to 1."""
    if job.state == JobState.QUEUED:
        return 0.0
    done = job.progress_step / max(1, job.progress_total)
    return round(min(1.0, max(STARTED, done)), 4)


def _share_of_all(job: GenerationJob) -> float:
    """The same of the whole request, where it made several jobs."""
    jobs = batch_of_job(job)
    done = sum(1.0 if each.is_terminal else _share(each) for each in jobs)
    return round(done / len(jobs), 4)


def _state(job: GenerationJob | None) -> dict[str, object]:
    is_stopping = job is not None and job.is_cancel_requested
    kept = kept_of(job) if job is not None else {}
    images = max(1, job.num_images) if job is not None else 1
    return {
        "skipped": False,
        "interrupted": is_stopping,
        "stopping_generation": False,
        "job": kept.get("task_id", ""),
        "job_count": kept.get("n_iter", 1) if job is not None else 0,
        "job_timestamp": (job.queued_at if job is not None else clock.now()).strftime(TIMESTAMP),
        "job_no": 0,
        "sampling_step": -(-job.progress_step // images) if job is not None else 0,
        "sampling_steps": -(-job.progress_total // images) if job is not None else 0,
    }


def _preview(job: GenerationJob) -> str | None:
    """Base64 of a small JPEG; None before the first step. The job then has at least the steps behind it."""
    preview = find_preview(job)
    if preview is None:
        return None
    # It may be younger than the row, which would then tell of fewer steps than the picture has.
    job.refresh_from_db(fields=["progress_step", "progress_total"])
    return base64.b64encode(bytes(preview.data)).decode("ascii")


class InterruptView(A1111View):
    """Ends the request that `progress` speaks of; it is answered with those of its images that are there."""

    result: dict[str, object] | None = {}

    def post(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.JOBS_CANCEL)
        job = current_job(key)
        if job is not None:
            self.end(job, key)
        return answer(self.result)

    def end(self, job: GenerationJob, key: ApiKey) -> None:
        """Whatever belongs to its request."""
        for each in jobs_beside(job):
            cancel(each, key)


class SkipView(InterruptView):
    """Ends the image that is being made; where no other job of the request is left, it is the same.

    All images of one job are made together, so none comes after the one that is skipped.
    """

    result = None

    def end(self, job: GenerationJob, key: ApiKey) -> None:
        if any(each.pk != job.pk and each.state != JobState.CANCELED for each in batch_of_job(job)):
            cancel(job, key)
        else:
            super().end(job, key)


class TaskProgressView(A1111View):
    """How far one named task of the caller is (`force_task_id`), for web interfaces."""

    def post(self, request: Request) -> HttpResponse:
        key, fields = self.read(request, Scope.JOBS_READ)
        job = job_of_task(key, _task_id(fields.get("id_task")))
        is_queued = job is not None and job.state == JobState.QUEUED
        is_active = job is not None and job.state == JobState.RUNNING
        body: dict[str, object] = {
            "active": is_active,
            "queued": is_queued,
            "completed": job is not None and job.is_terminal,
            "progress": None,
            "eta": None,
            "live_preview": None,
            "id_live_preview": _seen(fields),
            "textinfo": WAITING if not is_active else None,
        }
        if job is not None and is_active:
            body |= {"progress": _share(job), "eta": estimate_s(job=job, now=clock.now())}
            body |= _live_preview(job, fields)
        return answer(body)


def _live_preview(job: GenerationJob, fields: dict[str, object]) -> dict[str, object]:
    """A picture that the caller has not seen yet; pictures are numbered by the steps behind them."""
    preview = find_preview(job) if fields.get("live_preview", True) is not False else None
    if preview is None or preview.step == _seen(fields):
        return {}
    data = base64.b64encode(bytes(preview.data)).decode("ascii")
    return {"live_preview": f"data:{PREVIEW_TYPE};base64,{data}", "id_live_preview": preview.step}


def _seen(fields: dict[str, object]) -> int:
    """The picture that the caller has already; -1 for none."""
    try:
        return PREVIEW_ID(fields.get("id_live_preview", -1))
    except BadValue as error:
        raise BadField("id_live_preview", str(error)) from None


def _task_id(value: object) -> str:
    if value is None:
        raise BadField("id_task", "is required")
    try:
        return NAME(value)
    except BadValue as error:
        raise BadField("id_task", str(error)) from None


class PendingTasksView(A1111View):
    """The caller's named tasks that wait."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.JOBS_READ)
        waiting = open_jobs(key).filter(state=JobState.QUEUED)
        tasks = [name for job in waiting if (name := kept_of(job).get("task_id"))]
        return answer({"size": len(tasks), "tasks": tasks})


class PingView(A1111View):
    """Whether somebody is there; the one path without a key."""

    def get(self, request: Request) -> HttpResponse:
        return answer({})
