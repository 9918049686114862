"""Endpoints of the OpenAI Images dialect: read, call, wait, render."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from apps.api.json_bytes import json_bytes
from apps.api.openai import errors
from apps.api.openai.fields import GENERATIONS
from apps.api.openai.forms import read_request
from apps.api.openai.limits import name_limits
from apps.api.openai.models import checkpoint_name, find_checkpoint
from apps.api.openai.outcomes import ClientGone, expired_images, follow, require_success
from apps.api.openai.render import images_body, options_for
from apps.api.openai.stream import image_events
from apps.api.openai.translation import Asked, read_asked, renamed, take_asked, translate
from apps.api.quota_headers import funding_headers, quota_headers
from apps.api.views import DialectView
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.core.errors import InvalidField
from apps.generation.idempotency import IdempotencyClaim, find_record, make_claim
from apps.generation.models import GenerationJob
from apps.generation.selectors import list_artifacts
from apps.generation.services import submit_generation

NOBODY_THERE = 499
"""As nginx logs it; no client sees it."""


class OpenAIView(DialectView):
    """Base view of the dialect. Keys come in headers."""

    def get_exception_handler(self) -> Callable[[Exception, object], HttpResponse | None]:
        return errors.handle

    def finalize_response(  # type: ignore[override]  # as in DialectView
        self, request: Request, response: HttpResponseBase, *args: object, **kwargs: object
    ) -> HttpResponseBase:
        answer = super().finalize_response(request, response, *args, **kwargs)
        name_limits(answer)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What stays of a request while it waits: its job, not its pictures."""

    job: GenerationJob
    key: ApiKey
    is_replay: bool
    """Whether an earlier request with the same Idempotency-Key made the job."""
    is_fetchable: bool
    """Whether the caller can come back for it: by that key alone."""
    is_streamed: bool
    partial_images: int


class ImagesView(OpenAIView):
    """Accepts a request and answers with its images, however long they take."""

    endpoint = GENERATIONS

    def post(self, request: Request) -> HttpResponseBase:
        http = request._request  # DRF's wrapper would parse the body again
        accepted = self._accept(http)
        headers = _headers(accepted)
        if accepted.is_streamed:
            return _streamed(http, accepted, headers)
        try:
            body = _finished_body(http, accepted)
        except ClientGone:
            return HttpResponse(status=NOBODY_THERE)
        return HttpResponse(json_bytes(body), content_type="application/json", headers=headers)

    def _accept(self, http: HttpRequest) -> Accepted:
        """The job of this request, or of its earlier twin. Raises every refusal that there is."""
        key = self.identify(http, {}, Scope.IMAGES_GENERATE)
        fields = read_request(http)
        asked = read_asked(fields, self.endpoint)
        claim = _claim(http, fields)
        earlier = find_record(account_id=key.account_id, claim=claim) if claim else None
        job = earlier.job if earlier else None
        return Accepted(
            job=job or _submit(key, asked, claim),
            key=key,
            is_replay=job is not None,
            is_fetchable=claim is not None,
            is_streamed=asked.is_streamed,
            partial_images=asked.partial_images,
        )


def _submit(key: ApiKey, asked: Asked, claim: IdempotencyClaim | None) -> GenerationJob:
    """Raises the refusals of submitting, with the dialect's names of fields."""
    now = clock.now()
    checkpoint = find_checkpoint(asked.model, key)
    try:
        taken = take_asked(asked, now=now)
        name = checkpoint_name(asked.model, checkpoint)
        return submit_generation(
            account=key.account,
            api_key=key,
            request=translate(asked, taken, checkpoint, name=name),
            client_options=options_for(asked),
            track_id=None,
            now=now,
            idempotency=claim,
        )
    except InvalidField as error:
        raise renamed(error) from None


def _streamed(http: HttpRequest, accepted: Accepted, headers: Mapping[str, str]) -> StreamingHttpResponse:
    events = image_events(
        accepted.job,
        http,
        accepted.key,
        partial_images=accepted.partial_images,
        is_fetchable=accepted.is_fetchable,
    )
    # X-Accel-Buffering: nginx would otherwise hold events back until its buffer is full.
    own = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers={**headers, **own})


class UnknownPathView(OpenAIView):
    """Whatever else lies among the dialect's paths: 404 for every method."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return errors.unknown_path(request.path, request.method or "")


def _finished_body(http: HttpRequest, accepted: Accepted) -> Mapping[str, object]:
    """Raises ClientGone, and Refusal for whatever did not come to images."""
    job = accepted.job
    for current in follow(job, http, accepted.key, is_fetchable=accepted.is_fetchable):
        job = current
    artifacts = list(list_artifacts(require_success(job)))
    if not artifacts:
        raise expired_images(job)
    try:
        return images_body(job, artifacts)
    except FileNotFoundError:
        raise expired_images(job) from None


def _headers(accepted: Accepted) -> dict[str, str]:
    """What the body has no place for."""
    headers = quota_headers(accepted.key.account, now=clock.now()) | funding_headers([accepted.job])
    headers["X-Darkroom-Job"] = str(accepted.job.pk)
    headers["X-Darkroom-Tier"] = accepted.job.resolved.tier.value
    if accepted.is_replay:
        headers["Idempotent-Replayed"] = "true"
    return headers


def _claim(http: HttpRequest, fields: Mapping[str, object]) -> IdempotencyClaim | None:
    """The request's idempotency claim, if it makes one. Raises InvalidIdempotencyKey.

    Made from the fields, not from the body: a library that sends a form again draws another boundary for it.
    """
    key = http.headers.get("Idempotency-Key")
    if key is None:
        return None
    meant = json.dumps(fields, sort_keys=True, default=_digest).encode("ascii")
    return make_claim(key=key, method="POST", path=http.path, body=meant)


def _digest(value: object) -> str:
    """A file, for a text that stands for the request."""
    assert isinstance(value, bytes)
    return hashlib.sha256(value).hexdigest()
