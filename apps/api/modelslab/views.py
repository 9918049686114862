"""Endpoints of the ModelsLab dialect that make something, and fetching it: read, call, render."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import resolve
from rest_framework.request import Request

from apps.api.bodies import JsonObject, read_body, read_fields, read_query
from apps.api.json_bytes import json_bytes
from apps.api.modelslab import errors, render
from apps.api.modelslab.offers import TEXT_TO_IMAGE
from apps.api.modelslab.readers import shown
from apps.api.modelslab.translation.asked import Endpoint, renamed
from apps.api.modelslab.translation.translate import translate
from apps.api.quota_headers import funding_headers, quota_headers
from apps.api.readers import is_unset
from apps.api.views import DialectView
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.core.errors import InvalidField
from apps.generation.idempotency import (
    IdempotencyClaim,
    StoredResponse,
    find_record,
    make_claim,
    store_response,
    stored_response,
)
from apps.generation.models import GenerationJob
from apps.generation.selectors import access_job, estimate_s, list_artifacts
from apps.generation.services import submit_generation
from apps.generation.waiting import wait_for_job

JSON_TYPE = "application/json"
ID_NAMES = ("request_id", "id")
HERE = "/api/"


class ModelsLabView(DialectView):
    """Base view of the dialect."""

    def get_exception_handler(self) -> Callable[[Exception, object], HttpResponse | None]:
        return errors.handle


class GenerationView(ModelsLabView):
    """Accepts a request, waits a while for its result, answers with it or with where to find it."""

    endpoint: Endpoint = TEXT_TO_IMAGE

    def post(self, request: Request) -> HttpResponse:
        http = request._request  # DRF's wrapper would parse the body again
        # Some clients of v3 send their fields in the query string.
        fields = {**read_query(http), **read_fields(http)}
        key = self.identify(http, fields, Scope.IMAGES_GENERATE)
        claim = _claim(http)
        earlier = find_record(account_id=key.account_id, claim=claim) if claim else None
        answered = stored_response(earlier) if earlier else None
        job = earlier.job if earlier else None
        if answered is not None:
            return self._answer(key, job, answered, is_replay=True)
        job = job or self._submit(key, fields, claim)
        rendered = self._render(job)
        if claim is None:
            return self._answer(key, job, rendered, is_replay=False)
        kept = store_response(account_id=key.account_id, key=claim.key, response=rendered)
        return self._answer(key, job, kept, is_replay=kept is not rendered)

    def _submit(self, key: ApiKey, fields: JsonObject, claim: IdempotencyClaim | None) -> GenerationJob:
        now = clock.now()
        asked = translate(self.endpoint, fields, key=key, now=now)
        try:
            return submit_generation(
                account=key.account,
                api_key=key,
                request=asked.request,
                client_options=asked.options,
                track_id=asked.track_id,
                now=now,
                idempotency=claim,
                webhook=asked.webhook,
            )
        except InvalidField as error:
            raise renamed(error, asked.values, self.endpoint.table) from None

    def _render(self, job: GenerationJob) -> StoredResponse:
        is_instant = render.options_of(job)["instant_response"]
        job = wait_for_job(job, timeout_s=0.0 if is_instant else settings.SYNC_WAIT_S)
        body: Mapping[str, object]
        if not job.is_terminal:
            body = render.processing_body(job, eta_s=estimate_s(job=job, now=clock.now()))
        else:
            body = _ended_body(job)
        return StoredResponse(status=200, content_type=JSON_TYPE, body=json_bytes(body))

    def _answer(
        self, key: ApiKey, job: GenerationJob | None, answer: StoredResponse, *, is_replay: bool
    ) -> HttpResponse:
        headers = quota_headers(key.account, now=clock.now()) | funding_headers([job] if job else [])
        if is_replay:
            headers["Idempotent-Replayed"] = "true"
        return HttpResponse(
            answer.body, status=answer.status, content_type=answer.content_type, headers=headers
        )


class FetchView(ModelsLabView):
    """The state of a request, whichever version or path it was made with."""

    def get(self, request: Request, job_id: str | None = None) -> HttpResponse:
        return self._fetch(request._request, job_id)

    def post(self, request: Request, job_id: str | None = None) -> HttpResponse:
        return self._fetch(request._request, job_id)

    def _fetch(self, http: HttpRequest, job_id: str | None) -> HttpResponse:
        fields = {**read_query(http), **read_fields(http)}
        key = self.identify(http, fields, Scope.JOBS_READ)
        job = access_job(account=key.account, job_id=_given_id(fields) if job_id is None else job_id)
        body: Mapping[str, object]
        if job.is_terminal:
            body = _ended_body(job)
        else:
            body = render.pending_body(job, eta_s=estimate_s(job=job, now=clock.now()))
        return HttpResponse(json_bytes(body), content_type=JSON_TYPE)


class UnknownPathView(ModelsLabView):
    """Whatever else lies under /api/: 404 for every method, in the dialect's shape.

    A slash too many leads to no other place: clients put base URL and path together in every way, and a
    redirect would turn their POST into a GET.
    """

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        tidy = "/" + "/".join(part for part in request.path_info.split("/") if part)
        found = resolve(tidy) if tidy != request.path_info and tidy.startswith(HERE) else None
        if found is None or vars(found.func)["view_class"] is type(self):
            return errors.unknown_path(request.path)
        return cast("HttpResponseBase", found.func(request, *found.args, **found.kwargs))


def _claim(http: HttpRequest) -> IdempotencyClaim | None:
    """The request's idempotency claim, if it makes one. Raises InvalidIdempotencyKey."""
    key = http.headers.get("Idempotency-Key")
    if key is None:
        return None
    return make_claim(key=key, method="POST", path=http.get_full_path(), body=read_body(http))


def _ended_body(job: GenerationJob) -> Mapping[str, object]:
    now = clock.now()
    artifacts = [artifact for artifact in list_artifacts(job) if artifact.expires_at > now]
    return render.ended_body(job, artifacts)


def _given_id(fields: JsonObject) -> str | int:
    """The id in the body or query. Raises InvalidField when there is none."""
    for name in ID_NAMES:
        value = fields.get(name)
        if is_unset(value):
            continue
        if isinstance(value, str | int) and not isinstance(value, bool):
            return value
        raise InvalidField(field=name, problem=f"must be a number, not {shown(value)}")
    raise InvalidField(field="request_id", problem="is required")
