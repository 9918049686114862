"""Endpoints of the native API: the state of jobs, their events, canceling and deleting."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework.request import Request

from apps.api.bodies import JsonObject
from apps.api.callers import has_key
from apps.api.json_bytes import json_bytes
from apps.api.native import errors
from apps.api.native.events import describe, job_events
from apps.api.native.prefer import read_preference
from apps.api.native.repeats import answer_once
from apps.api.native.sessions import has_session, session_caller
from apps.api.views import DialectView
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.core.errors import NotFound
from apps.generation.deleting import delete_images
from apps.generation.models import GenerationJob
from apps.generation.selectors import access_job
from apps.generation.services import cancel_job
from apps.generation.waiting import wait_for_job


class NativeView(DialectView):
    """Base view of the native API. Keys come in headers or the query, never in bodies.

    Members who are signed in to the portal need none: their session will do.
    """

    def get_exception_handler(self) -> Callable[[Exception, object], HttpResponse | None]:
        return errors.handle

    def perform_authentication(self, request: Request) -> None:
        """Nothing: DRF would put nobody in the place of the session's user."""

    def find_caller(self, request: HttpRequest, fields: JsonObject) -> ApiKey:
        """A key counts before a session, which every request of a browser brings.

        Raises ApiKeyMissing, ApiKeyInvalid, and what `session_caller` raises.
        """
        if not has_session(request) or has_key(request, fields):
            return super().find_caller(request, fields)
        self.caller = session_caller(request, now=clock.now())
        return self.caller

    def access(self, http: HttpRequest, job_id: str, scope: Scope) -> GenerationJob:
        """The caller's job. Raises the refusals of `identify`, and NotFound."""
        key = self.identify(http, {}, scope)
        try:
            return access_job(account=key.account, job_id=job_id)
        except NotFound as refusal:
            # The services speak of requests, as the dialects do that know no jobs.
            raise NotFound(what="Job", id=refusal.data["id"]) from None


class JobView(NativeView):
    """One job. Deleting one that has not ended cancels it, else it removes its images."""

    def get(self, request: Request, job_id: str) -> HttpResponse:
        http = request._request
        job = self.access(http, job_id, Scope.JOBS_READ)
        preference = read_preference(http)
        return _job_response(wait_for_job(job, timeout_s=preference.wait_s), preference.headers)

    def delete(self, request: Request, job_id: str) -> HttpResponse:
        job = self.access(request._request, job_id, Scope.JOBS_CANCEL)
        assert self.caller is not None  # access() has identified it
        if not job.is_terminal:
            return _canceled(job, self.caller)
        delete_images(job=job, actor=self.caller.ref, now=clock.now())
        job.refresh_from_db()
        return _job_response(job)


class CancelView(NativeView):
    """Canceling alone; what has ended stays as it is."""

    def post(self, request: Request, job_id: str) -> HttpResponse:
        http = request._request
        job = self.access(http, job_id, Scope.JOBS_CANCEL)
        key = self.caller
        assert key is not None  # access() has identified it
        return answer_once(http, key, lambda: _canceled(job, key))


class EventsView(NativeView):
    """The job's course as it happens."""

    def get(self, request: Request, job_id: str) -> StreamingHttpResponse:
        http = request._request
        job = self.access(http, job_id, Scope.JOBS_READ)
        # X-Accel-Buffering: nginx would otherwise hold events back until its buffer is full.
        return StreamingHttpResponse(
            job_events(job, last_seen=http.headers.get("Last-Event-ID", "")),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


class UnknownPathView(NativeView):
    """Whatever else lies under /v1/: 404 for every method."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return errors.unknown_path(request.path)


def _canceled(job: GenerationJob, key: ApiKey) -> HttpResponse:
    """Raises NotCancelable."""
    return _job_response(cancel_job(job=job, actor=key.ref, now=clock.now()))


def _job_response(job: GenerationJob, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(json_bytes(describe(job)), content_type="application/json", headers=headers)
