"""Endpoints of the native API: the state of jobs, their events, and canceling."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework.request import Request

from apps.api.json_bytes import json_bytes
from apps.api.native import errors
from apps.api.native.events import describe, job_events
from apps.api.views import DialectView
from apps.apikeys.choices import Scope
from apps.core import clock
from apps.generation.models import GenerationJob
from apps.generation.selectors import access_job
from apps.generation.services import cancel_job


class NativeView(DialectView):
    """Base view of the native API. Keys come in headers or the query, never in bodies."""

    def get_exception_handler(self) -> Callable[[Exception, object], HttpResponse | None]:
        return errors.handle

    def access(self, http: HttpRequest, job_id: str, scope: Scope) -> GenerationJob:
        """The caller's job. Raises the refusals of `identify`, and NotFound."""
        key = self.identify(http, {}, scope)
        return access_job(account=key.account, job_id=job_id)

    def cancel(self, http: HttpRequest, job_id: str) -> HttpResponse:
        """End the job. Raises the refusals of `access`, and NotCancelable."""
        job = self.access(http, job_id, Scope.JOBS_CANCEL)
        assert self.caller is not None  # access() has identified it
        return _job_response(cancel_job(job=job, actor=self.caller.ref, now=clock.now()))


class JobView(NativeView):
    """One job."""

    def get(self, request: Request, job_id: str) -> HttpResponse:
        return _job_response(self.access(request._request, job_id, Scope.JOBS_READ))

    def delete(self, request: Request, job_id: str) -> HttpResponse:
        return self.cancel(request._request, job_id)


class CancelView(NativeView):
    """Canceling for clients that cannot send DELETE."""

    def post(self, request: Request, job_id: str) -> HttpResponse:
        return self.cancel(request._request, job_id)


class EventsView(NativeView):
    """The job's course as it happens."""

    def get(self, request: Request, job_id: str) -> StreamingHttpResponse:
        job = self.access(request._request, job_id, Scope.JOBS_READ)
        # X-Accel-Buffering: nginx would otherwise hold events back until its buffer is full.
        return StreamingHttpResponse(
            job_events(job),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


class UnknownPathView(NativeView):
    """Whatever else lies under /v1/: 404 for every method."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return errors.unknown_path(request.path)


def _job_response(job: GenerationJob) -> HttpResponse:
    return HttpResponse(json_bytes(describe(job)), content_type="application/json")
