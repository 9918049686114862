"""Views about one picture: extras, png-info, interrogate."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from django.http import HttpResponse
from rest_framework.request import Request

from apps.api.a1111.errors import INTERROGATOR_NOT_FOUND, PICTURE_MISSING, BadField, Refusal, bad_picture
from apps.api.a1111.extras import Extras, extras_request, read_extras
from apps.api.a1111.infotexts import parameters_of
from apps.api.a1111.jobs import artifacts_of, require_success, wait_for_all
from apps.api.a1111.render import encoded, encoded_picture
from apps.api.a1111.submissions import Submission, submit_all, with_headers
from apps.api.a1111.translation import store_pictures
from apps.api.a1111.views import A1111View, answer
from apps.apikeys.choices import Scope
from apps.core import clock
from apps.generation.choices import Kind
from apps.generation.models import GenerationJob
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_sources import content_of
from apps.generation.pictures import BytesSource, read_source
from apps.generation.request import GenerationRequest
from apps.generation.wishes import StoredPicture
from gpu_runtime.metadata.reading import read_settings

MOST_PICTURES: Final = 50
"""Of a batch."""
DEEPDANBOORU: Final = "deepdanbooru"
CLIP: Final = "clip"


class ExtrasView(A1111View):
    """One picture, enlarged or mended."""

    def post(self, request: Request) -> HttpResponse:
        key, fields = self.read(request, Scope.IMAGES_GENERATE)
        submission = Submission.of(request._request, key)
        extras = read_extras(fields, key.account)
        pictures = store_pictures([("image", _text(fields.get("image"), "image"))], now=clock.now())
        images, jobs = worked_on(submission, extras, pictures, request)
        return with_headers(answer({"html_info": "", "image": images[0]}), submission, jobs)


class ExtrasBatchView(A1111View):
    """Several pictures, all in the same way."""

    def post(self, request: Request) -> HttpResponse:
        key, fields = self.read(request, Scope.IMAGES_GENERATE)
        submission = Submission.of(request._request, key)
        extras = read_extras(fields, key.account)
        pictures = store_pictures(_listed(fields.get("imageList")), now=clock.now())
        images, jobs = worked_on(submission, extras, pictures, request)
        return with_headers(answer({"html_info": "", "images": images}), submission, jobs)


def _listed(value: object) -> list[tuple[str, str]]:
    if value is None:
        raise BadField("imageList", "is required")
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_PICTURES:
        raise BadField("imageList", f"must be a list of 1 to {MOST_PICTURES} pictures")
    named = []
    for number, item in enumerate(value):
        place = f"imageList.{number}"
        if not isinstance(item, dict):
            raise BadField(place, "must be an object with data and name")
        named.append((f"{place}.data", _text(item.get("data"), f"{place}.data")))
    return named


def worked_on(
    submission: Submission, extras: Extras, pictures: list[StoredPicture], request: Request
) -> tuple[list[str], list[GenerationJob]]:
    """Base64 of each result, and the jobs behind them. Raises InvalidField, Refusal and ClientGone."""
    wanted = [extras_request(extras, picture, now=clock.now()) for picture in pictures]
    jobs = submit_all(submission, [(each, {}) for each in wanted if each is not None])
    http, key = request._request, submission.key
    ended = iter(wait_for_all(jobs, http, key, is_fetchable=submission.is_fetchable))
    images = []
    for picture, each in zip(pictures, wanted, strict=True):
        made = artifacts_of(require_success(next(ended))) if each is not None else []
        images.append(encoded(made[0]) if made else encoded_picture(picture))
    return images, jobs


class PngInfoView(A1111View):
    """What a picture says of how it was made, whoever made it."""

    def post(self, request: Request) -> HttpResponse:
        _, fields = self.read(request, Scope.IMAGES_GENERATE)
        text = _text(fields.get("image"), "image")
        try:
            content = content_of(_at_hand(text), account_id=None)
        except (BadPicture, binascii.Error) as error:
            raise bad_picture(f"image {error}") from None
        found = read_settings(content)
        items: Mapping[str, str] = {"parameters": found.infotext} if found.infotext else {}
        parameters = parameters_of(found.settings) if found.infotext else {}
        return answer({"info": found.infotext, "items": items, "parameters": parameters})


def _at_hand(text: str) -> BytesSource:
    """Raises BadPicture for what is no picture in the request itself."""
    source = read_source(text)
    if not isinstance(source, BytesSource):
        raise BadPicture("must be base64")
    return source


class InterrogateView(A1111View):
    """What is to be seen in a picture, in words; clients probe it with GET, which is a 405."""

    def post(self, request: Request) -> HttpResponse:
        key, fields = self.read(request, Scope.IMAGES_GENERATE)
        submission = Submission.of(request._request, key)
        if not fields.get("image"):
            raise Refusal(HTTPStatus.NOT_FOUND, "Image not found", code=PICTURE_MISSING)
        if fields.get("model", CLIP) != CLIP:
            raise Refusal(HTTPStatus.NOT_FOUND, "Model not found", code=INTERROGATOR_NOT_FOUND)
        [picture] = store_pictures([("image", _text(fields.get("image"), "image"))], now=clock.now())
        jobs = submit_all(submission, [(GenerationRequest(kind=Kind.CAPTION, image=picture), {})])
        [ended] = wait_for_all(jobs, request._request, key, is_fetchable=submission.is_fetchable)
        caption = require_success(ended).result.get("caption", "")
        return with_headers(answer({"caption": caption}), submission, jobs)


def _text(value: object, field: str) -> str:
    if value is None:
        raise BadField(field, "is required")
    if not isinstance(value, str):
        raise BadField(field, "must be a picture as base64")
    return value
