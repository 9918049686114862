"""Endpoints of the native API for making jobs: create any kind, list, estimate, keep pictures."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from apps.api.bodies import JsonObject, read_body
from apps.api.json_bytes import json_bytes
from apps.api.native.events import describe
from apps.api.native.forms import claim_of, read_request
from apps.api.native.jobs_fields import JOB_FIELDS, UPLOAD_FIELDS
from apps.api.native.jobs_list import read_page
from apps.api.native.jobs_translation import read_asked, renamed, take_request
from apps.api.native.models import json_response
from apps.api.native.prefer import Preference, read_preference
from apps.api.native.render import job_path, job_summary, upload_body
from apps.api.native.repeats import answer_once
from apps.api.native.views import NativeView
from apps.api.quota_headers import funding_headers
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.core.errors import InvalidField
from apps.generation.estimates import estimate
from apps.generation.idempotency import (
    IdempotencyClaim,
    StoredResponse,
    find_record,
    store_response,
    stored_response,
)
from apps.generation.models import GenerationJob
from apps.generation.pictures import PictureSource, take_picture
from apps.generation.services import submit_generation
from apps.generation.waiting import wait_for_job

JSON_TYPE = "application/json"
IMAGE = "image"


class JobListView(NativeView):
    """Jobs of the account, and the way to a new one."""

    def get(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.JOBS_READ)
        page = read_page(http.GET, account=key.account)
        items = [job_summary(job, artifacts=artifacts) for job, artifacts in page.items]
        return json_response({"items": items, "next_cursor": page.next_cursor})

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.IMAGES_GENERATE)
        fields = read_request(http, JOB_FIELDS)
        claim = claim_of(http, fields)
        earlier = find_record(account_id=key.account_id, claim=claim) if claim else None
        kept = stored_response(earlier) if earlier else None
        if earlier is not None and earlier.job is not None and kept is not None:
            return _created(earlier.job, kept, is_replay=True)
        preference = read_preference(http)
        job = earlier.job if earlier and earlier.job else _submit(key, fields, claim)
        job = wait_for_job(job, timeout_s=preference.wait_s)
        rendered = _rendered(job)
        if claim is None:
            return _created(job, rendered, preference)
        answer = store_response(account_id=key.account_id, key=claim.key, response=rendered)
        return _created(job, answer, preference, is_replay=answer is not rendered)


class EstimateView(NativeView):
    """What a job would take and cost. Reserves nothing."""

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.IMAGES_GENERATE)
        fields = read_request(http, JOB_FIELDS)

        def act() -> HttpResponse:
            now = clock.now()
            wanted = take_request(read_asked(fields), account_id=key.account_id, now=now)
            try:
                return json_response(
                    asdict(estimate(account=key.account, api_key=key, request=wanted, now=now))
                )
            except InvalidField as error:
                raise renamed(error) from None

        return answer_once(http, key, act, claim=claim_of(http, fields))


class UploadsView(NativeView):
    """Keeps a picture for an hour, so that several jobs can name it."""

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.IMAGES_GENERATE)
        fields = _upload_fields(http)

        def act() -> HttpResponse:
            now = clock.now()
            source = read_asked(fields, UPLOAD_FIELDS).values[IMAGE]
            assert isinstance(source, PictureSource)  # as its reader makes it
            picture = take_picture(source, field=IMAGE, now=now, account_id=key.account_id)
            return json_response(upload_body(picture, now=now), HTTPStatus.CREATED)

        return answer_once(http, key, act, claim=claim_of(http, fields))


def _upload_fields(http: HttpRequest) -> JsonObject:
    """The picture is the body itself, or the field `image` of JSON or of a form."""
    if (http.content_type or "").startswith("image/"):
        return {IMAGE: read_body(http)}
    return read_request(http, UPLOAD_FIELDS)


def _submit(key: ApiKey, fields: JsonObject, claim: IdempotencyClaim | None) -> GenerationJob:
    now = clock.now()
    asked = read_asked(fields)
    webhook = asked.webhook
    wanted = take_request(asked, account_id=key.account_id, now=now)
    try:
        return submit_generation(
            account=key.account,
            api_key=key,
            request=wanted,
            client_options={},
            track_id=asked.track_id,
            now=now,
            idempotency=claim,
            webhook=webhook,
        )
    except InvalidField as error:
        raise renamed(error) from None


def _rendered(job: GenerationJob) -> StoredResponse:
    """200 with what has ended, 202 with what goes on."""
    status = HTTPStatus.OK if job.is_terminal else HTTPStatus.ACCEPTED
    return StoredResponse(status=status, content_type=JSON_TYPE, body=json_bytes(describe(job)))


def _created(
    job: GenerationJob,
    answer: StoredResponse,
    preference: Preference | None = None,
    *,
    is_replay: bool = False,
) -> HttpResponse:
    headers = (
        {"Location": job_path(job)} | funding_headers([job]) | (preference.headers if preference else {})
    )
    if is_replay:
        headers["Idempotent-Replayed"] = "true"
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type, headers=headers)
