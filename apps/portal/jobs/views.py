"""The jobs log: what was asked, what came of it and how long it took; and the way to try again or stop."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.models import Membership
from apps.accounts.roles import Permission, can
from apps.core import clock
from apps.core.errors import DomainError
from apps.generation.deleting import delete_images
from apps.generation.models import GenerationJob
from apps.generation.selectors import estimate_s, queue_position
from apps.generation.services import cancel_job
from apps.portal.access import access_row, actor_of, form_token, page, require_permission, say_refused
from apps.portal.jobs.filters import JobFilter
from apps.portal.jobs.retry import retry_job
from apps.portal.jobs.shown import phases_of, request_json, response_json, shown_job, shown_jobs
from apps.portal.paging import MAX_ID, page_of

PERMISSION: Final = "jobs"
ACTING: Final[Permission] = "playground"
LIST: Final = "portal:jobs"
DETAIL: Final = "portal:job"
HTMX_STOP: Final = 286
"""The status that ends htmx's polling."""


@require_GET
@page(permission=PERMISSION)
def jobs(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A page of the log."""
    filters = JobFilter(request.GET, account=membership.account)
    found = page_of(filters.jobs(), request)
    context = {
        "filters": filters,
        "page": found,
        "jobs": shown_jobs(found.rows),
        "is_filtered": bool(request.GET),
    }
    return render(request, "portal/jobs/list.html", context)


@require_GET
@page(permission=PERMISSION)
def job_row(request: HttpRequest, membership: Membership, job_id: int) -> HttpResponse:
    """One line anew, for a page that is open while the job runs."""
    job = _access(request, membership, job_id)
    return render(
        request, "portal/jobs/row.html", {"shown": shown_jobs([job])[0]}, status=_polling_status(job)
    )


@require_GET
@page(permission=PERMISSION)
def job_detail(request: HttpRequest, membership: Membership, job_id: int) -> HttpResponse:
    """Everything about one job."""
    job = _access(request, membership, job_id)
    context = _live(job) | {
        "request_json": request_json(job),
        "response_json": response_json(job),
        "may_act": can(membership, ACTING),
    }
    return render(request, "portal/jobs/detail.html", context)


@require_GET
@page(permission=PERMISSION)
def job_live(request: HttpRequest, membership: Membership, job_id: int) -> HttpResponse:
    """What changes on that page while the job runs; at its end the whole page is read anew."""
    job = _access(request, membership, job_id)
    response = render(request, "portal/jobs/live.html", _live(job), status=_polling_status(job))
    if job.is_terminal:
        response.headers["HX-Refresh"] = "true"
    return response


@require_POST
@page(permission=PERMISSION, back=LIST)
def retry(request: HttpRequest, membership: Membership, job_id: int) -> HttpResponse:
    """The same once more."""
    job = _access_to_act(request, membership, job_id)
    token = form_token(request)
    try:
        new = retry_job(job, membership=membership, token=token, path=request.path, now=clock.now())
    except DomainError as error:
        say_refused(request, membership, error)
        return redirect(DETAIL, job_id)
    messages.success(request, _("Job %(id)d was asked for.") % {"id": new.pk})
    return redirect(DETAIL, new.pk)


@require_POST
@page(permission=PERMISSION, back=LIST)
def cancel(request: HttpRequest, membership: Membership, job_id: int) -> HttpResponse:
    """The end of an open job."""
    job = _access_to_act(request, membership, job_id)
    try:
        cancel_job(job=job, actor=actor_of(membership), now=clock.now())
    except DomainError as error:
        say_refused(request, membership, error)
    else:
        messages.success(request, _("The job is being canceled."))
    return redirect(DETAIL, job_id)


@require_POST
@page(permission=PERMISSION, back=LIST)
def delete(request: HttpRequest, membership: Membership, job_id: int) -> HttpResponse:
    """The end of a job's pictures; what was asked stays in the log."""
    job = _access_to_act(request, membership, job_id)
    try:
        count = delete_images(job=job, actor=actor_of(membership), now=clock.now())
    except DomainError as error:
        say_refused(request, membership, error)
    else:
        messages.success(request, _("Pictures deleted: %(count)d.") % {"count": count})
    return redirect(DETAIL, job_id)


def _access(request: HttpRequest, membership: Membership, job_id: int) -> GenerationJob:
    if job_id > MAX_ID:
        raise Http404
    rows = GenerationJob.objects.select_related("api_key", "checkpoint")
    return access_row(rows, request=request, account=membership.account, pk=job_id)


def _access_to_act(request: HttpRequest, membership: Membership, job_id: int) -> GenerationJob:
    job = _access(request, membership, job_id)
    require_permission(request, membership, ACTING)
    return job


def _live(job: GenerationJob) -> dict[str, object]:
    return {
        "job": job,
        "shown": shown_job(job),
        "phases": phases_of(job),
        "place": queue_position(job),
        "eta_s": None if job.is_terminal else estimate_s(job=job, now=clock.now()),
    }


def _polling_status(job: GenerationJob) -> int:
    return HTMX_STOP if job.is_terminal else 200
