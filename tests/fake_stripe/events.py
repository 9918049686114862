"""What happened, as Stripe tells it: an event with a snapshot of the object, and what had changed of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.fake_stripe.params import Params
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

API_VERSION = "2026-10-28.endive"


def emit(fake: Fake, kind: str, obj: Obj, *, before: Obj | None = None) -> Obj:
    """Keep the event and hand it to the webhook endpoints that want it."""
    data: dict[str, Any] = {"object": copy.deepcopy(obj)}
    if before is not None:
        data["previous_attributes"] = {
            name: old for name, old in before.items() if obj.get(name) != old and name != "object"
        }
    event = {
        "id": fake.store.new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": fake.clock.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": len(fake.store.every("webhook_endpoint")),
        "request": {"id": fake.request_id, "idempotency_key": fake.request_key},
        "type": kind,
    }
    fake.store.add(event)
    fake.webhooks.enqueue(event)
    return event


@contextmanager
def changing(fake: Fake, obj: Obj, kind: str) -> Iterator[Obj]:
    """Emit `kind` if the block changed the object."""
    before = copy.deepcopy(obj)
    yield obj
    if obj != before:
        emit(fake, kind, obj, before=before)


def list_events(fake: Fake, params: Params) -> Obj:
    kinds = set(params.texts("types"))
    if kind := params.text("type"):
        kinds.add(kind)

    def is_wanted(event: Obj) -> bool:
        return (
            not kinds
            or event["type"] in kinds
            or any(kind.endswith("*") and event["type"].startswith(kind[:-1]) for kind in kinds)
        )

    return page(fake.store.every("event"), params, url="/v1/events", keep=is_wanted)


def retrieve_event(fake: Fake, params: Params, event_id: str) -> Obj:
    return fake.store.get("event", event_id)


ROUTES = [
    Route(
        "GET",
        "/v1/events",
        list_events,
        "EventListParams",
        "type types created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/events/{id}", retrieve_event, "EventRetrieveParams"),
]
