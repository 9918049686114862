"""txt2img and img2img: read, call, wait, render; and what all views of the dialect share."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import uuid4

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from apps.api.a1111 import errors
from apps.api.a1111.asked import Asked, read_asked
from apps.api.a1111.fields import IMG2IMG, TXT2IMG
from apps.api.a1111.jobs import Kept, require_success, wait_for_all
from apps.api.a1111.maps import map_requests, maps_of
from apps.api.a1111.options import change_options
from apps.api.a1111.render import images_body
from apps.api.a1111.submissions import Submission, submit_all, with_headers
from apps.api.a1111.translation import renamed, take_asked, translate
from apps.api.bodies import JsonObject, read_fields
from apps.api.json_bytes import json_bytes
from apps.api.views import DialectView
from apps.apikeys.choices import Scope
from apps.apikeys.errors import ApiKeyInvalid, ApiKeyMissing
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.core.errors import InvalidField

BASIC: Final = "basic "


class A1111View(DialectView):
    """Base view of the dialect. Keys come as HTTP Basic, in either half, or as every dialect takes them."""

    def get_exception_handler(self) -> Callable[[Exception, object], HttpResponse | None]:
        return errors.handle

    def identify(self, request: HttpRequest, fields: JsonObject, scope: Scope) -> ApiKey:
        """The caller's key. Raises ApiKeyMissing, ApiKeyInvalid, ScopeMissing."""
        halves = basic_credentials(request.headers.get("Authorization", ""))
        for text in halves[:-1]:
            try:
                return super().identify(request, {"key": text}, scope)
            except (ApiKeyInvalid, ApiKeyMissing):
                continue
        return super().identify(request, {"key": halves[-1]} if halves else {}, scope)

    def read(self, request: Request, scope: Scope) -> tuple[ApiKey, JsonObject]:
        """The caller, and the body's fields."""
        http = request._request  # DRF's wrapper would parse the body again
        key = self.identify(http, {}, scope)
        return key, read_fields(http)


def basic_credentials(header: str) -> tuple[str, ...]:
    """Password and user of HTTP Basic, as far as they are there; () for another scheme or garbage."""
    if not header.lower().startswith(BASIC):
        return ()
    try:
        user, _, password = base64.b64decode(header[len(BASIC) :], validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ()
    return tuple(text for text in (password, user) if text.strip())


def answer(body: Mapping[str, object] | Sequence[object] | None) -> HttpResponse:
    """A 200."""
    content = b"null" if body is None else json_bytes(body)
    return HttpResponse(content, content_type="application/json")


class GenerationView(A1111View):
    """Accepts a request and answers with its images, however long they take."""

    endpoint = TXT2IMG

    def post(self, request: Request) -> HttpResponse:
        key, fields = self.read(request, Scope.IMAGES_GENERATE)
        submission = Submission.of(request._request, key)
        asked = read_asked(fields, self.endpoint, key)
        taken = take_asked(asked, now=clock.now())
        wanted = translate(asked, taken, account=key.account)
        try:
            maps_wanted = map_requests(asked.units, taken, wanted[0], key)
            kept = _kept(asked, has_several_jobs=len(wanted) > 1, has_maps=bool(maps_wanted))
            for_map: Kept = {"batch": kept.get("batch", ""), "is_map": True}
            together = [(each, kept) for each in wanted] + [(each, for_map) for each in maps_wanted]
            jobs = submit_all(submission, together)
        except InvalidField as error:
            raise renamed(error) from None
        ended = wait_for_all(jobs, request._request, key, is_fetchable=submission.is_fetchable)
        images = [require_success(job) for job in ended[: len(wanted)]]
        maps = maps_of(asked.units, taken, ended[len(wanted) :])
        if not asked.get("override_settings_restore_afterwards"):
            change_options(key, asked.overridden)
        body = images_body(images, _echo(asked), maps=maps, sends_images=asked.get("send_images"))
        return with_headers(answer(body), submission, jobs)


class Img2ImgView(GenerationView):
    """The same from a picture."""

    endpoint = IMG2IMG


class UnknownPathView(A1111View):
    """Whatever else lies among the dialect's paths: 404 for every method."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return errors.unknown_path()


def _kept(asked: Asked, *, has_several_jobs: bool, has_maps: bool) -> Kept:
    kept: Kept = {
        "task_id": asked.get("force_task_id") or "",
        "prompt": asked.get("prompt"),
        "negative_prompt": asked.get("negative_prompt"),
        "missing_networks": list(asked.networks.missing),
        "subseed": asked.get("subseed"),
        "n_iter": asked.get("n_iter"),
        "batch_size": len(asked.get("init_images")) if has_several_jobs else asked.get("batch_size"),
        "restore_faces": bool(asked.get("restore_faces")),
    }
    if has_several_jobs or has_maps:
        kept["batch"] = uuid4().hex
    return kept


def _echo(asked: Asked) -> dict[str, object]:
    """What `parameters` says: every field of the request; pictures only where that was asked for."""
    echoed = dict(asked.values)
    if asked.is_from_picture and not asked.get("include_init_images"):
        echoed |= {"init_images": None, "mask": None}
    return echoed
