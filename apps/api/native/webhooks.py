"""Endpoints of the native API for webhooks: the log, sending again, tests, and the signing secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

from django.http import HttpResponse
from rest_framework.request import Request

from apps.api.bodies import read_fields
from apps.api.native.models import json_response
from apps.api.native.repeats import answer_once
from apps.api.native.views import NativeView
from apps.api.native.webhooks_fields import overlap_of, read_query, replay_of, required_url
from apps.api.native.webhooks_render import delivery_body, delivery_detail, endpoint_body, secret_body
from apps.apikeys.choices import Scope
from apps.core import clock
from apps.core.errors import InvalidField
from apps.webhooks.models import Delivery
from apps.webhooks.secrets import list_secrets, rotate_secret
from apps.webhooks.selectors import access_delivery, list_deliveries, list_troubled_endpoints
from apps.webhooks.services import replay_delivery, replay_failed, send_test
from apps.webhooks.wishes import FIELD

T = TypeVar("T")

# Some receivers have a path for each event: a list of all of them would be of no use.
MAX_ENDPOINTS: Final = 200


class DeliveryListView(NativeView):
    """What was and will be delivered, newest first."""

    def get(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.JOBS_READ)
        asked = read_query(http.GET)
        rows = list_deliveries(account=key.account)
        if asked.state is not None:
            rows = rows.filter(state=asked.state)
        if asked.job_id is not None:
            rows = rows.filter(job_id=asked.job_id)
        if asked.before is not None:
            rows = rows.filter(pk__lt=asked.before)
        page = list(rows[: asked.limit + 1])
        shown = page[: asked.limit]
        return json_response(
            {
                "items": [delivery_body(row) for row in shown],
                "next_cursor": str(shown[-1].pk) if len(page) > asked.limit else None,
            }
        )


class DeliveryView(NativeView):
    """One delivery with its attempts."""

    def get(self, request: Request, event_id: str) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.JOBS_READ)
        row = access_delivery(account=key.account, event_id=event_id)
        return json_response(delivery_detail(row, list(row.tries.all())))


class ReplayView(NativeView):
    """One delivery again, whatever became of it."""

    def post(self, request: Request, event_id: str) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.WEBHOOKS_WRITE)

        def act() -> HttpResponse:
            row = access_delivery(account=key.account, event_id=event_id)
            return _accepted(replay_delivery(delivery=row, actor=key.ref, now=clock.now()))

        return answer_once(http, key, act, locate=_place)


class ReplayFailedView(NativeView):
    """Everything again that was given up."""

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.WEBHOOKS_WRITE)
        now = clock.now()
        since, url = replay_of(read_fields(http), now=now)

        def act() -> HttpResponse:
            count = _named_url(
                lambda: replay_failed(account=key.account, since=since, url=url, actor=key.ref, now=now)
            )
            return json_response({"count": count}, HTTPStatus.ACCEPTED)

        return answer_once(http, key, act)


class EndpointsView(NativeView):
    """Endpoints that fail, are paused or disabled."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.JOBS_READ)
        rows = list_troubled_endpoints(account=key.account)[:MAX_ENDPOINTS]
        return json_response({"items": [endpoint_body(row) for row in rows]})


class SecretView(NativeView):
    """The secret that deliveries are signed with: which there are, and the way to the next."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.JOBS_READ)
        rows = list_secrets(account=key.account, now=clock.now())
        return json_response({"items": [secret_body(row) for row in rows]})

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.WEBHOOKS_WRITE)
        overlap = overlap_of(read_fields(http))
        # Without Idempotency-Key: the answer would be kept, and the secret with it.
        made = rotate_secret(account=key.account, overlap=overlap, actor=key.ref, now=clock.now())
        return json_response({"secret": made.text, **secret_body(made.row)}, HTTPStatus.CREATED)


class TestView(NativeView):
    """A message that tells of nothing, to see whether an endpoint takes it."""

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.WEBHOOKS_WRITE)
        url = required_url(read_fields(http))

        def act() -> HttpResponse:
            return _accepted(
                _named_url(lambda: send_test(account=key.account, url=url, actor=key.ref, now=clock.now()))
            )

        return answer_once(http, key, act, locate=_place)


def _accepted(row: Delivery) -> HttpResponse:
    return json_response(delivery_body(row), HTTPStatus.ACCEPTED)


def _place(body: Mapping[str, Any]) -> str:
    """Of a delivery, by its JSON (Any)."""
    return f"/v1/webhooks/deliveries/{body['id']}"


def _named_url(act: Callable[[], T]) -> T:
    """`act`, whose refusals of the address speak of our caller's field."""
    try:
        return act()
    except InvalidField as error:
        raise error.renamed("url") if error.field == FIELD else error from None
