"""Webhooks out: signed as Stripe signs, delivered once, twice, late, shuffled or with a wrong signature."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.fake_stripe.errors import invalid
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

RETRY_S = (60, 600, 3_600, 6 * 3_600, 24 * 3_600)
"""Between attempts at an endpoint that does not answer 2xx, in seconds of the fake's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedWebhook:
    event_id: str
    type: str
    body: bytes
    signature: str
    """Value of the header Stripe-Signature."""
    url: str = ""
    """Of the endpoint, where one is registered."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    event: Obj
    url: str
    secret: str
    due_at: int
    attempts: int = 0


Send = Callable[[SignedWebhook], int]
"""Hands a webhook over and says the HTTP status of the answer."""


def sign(body: bytes, secret: str, *, at: int) -> str:
    """Scheme v1: HMAC-SHA-256 of `<time>.<body>`."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def event_body(event: Obj) -> bytes:
    return json.dumps(event, indent=2).encode()


class Webhooks:
    def __init__(self, secret: str, *, signs_at: Callable[[], int] | None = None) -> None:
        self._secret = secret
        self._waiting: list[_Waiting] = []
        self._endpoints: Callable[[], list[Obj]] = list
        self.signs_at = signs_at or (lambda: int(time.time()))
        """The time in signatures: receivers compare it with their own clock, so the machine's by default."""

    def listen_with(self, endpoints: Callable[[], list[Obj]]) -> None:
        self._endpoints = endpoints

    def enqueue(self, event: Obj) -> None:
        """For each endpoint that wants it; without any, once for whoever takes it."""
        endpoints = self._endpoints()
        if not endpoints:
            self._waiting.append(_Waiting(event=event, url="", secret=self._secret, due_at=event["created"]))
        for endpoint in endpoints:
            wanted = endpoint["enabled_events"]
            if endpoint["status"] == "enabled" and ("*" in wanted or event["type"] in wanted):
                self._waiting.append(
                    _Waiting(event=event, url=endpoint["url"], secret=self._secret, due_at=event["created"])
                )

    def mark(self) -> int:
        """A point to which `forget_since` goes back."""
        return len(self._waiting)

    def forget_since(self, mark: int) -> None:
        del self._waiting[mark:]

    def signed(self, event: Obj, *, url: str = "", secret: str | None = None) -> SignedWebhook:
        body = event_body(event)
        return SignedWebhook(
            event_id=event["id"],
            type=event["type"],
            body=body,
            signature=sign(body, secret or self._secret, at=self.signs_at()),
            url=url,
        )

    def take(self) -> list[SignedWebhook]:
        """Everything not delivered yet, oldest first; it counts as delivered."""
        taken, self._waiting = self._waiting, []
        return [self.signed(row.event, url=row.url) for row in taken]

    def deliver(
        self,
        send: Send,
        *,
        now: int,
        shuffle_seed: int | None = None,
        duplicates: float = 0.0,
        bad_signatures: float = 0.0,
        late: float = 0.0,
    ) -> dict[str, int]:
        """Send what is due. Answers other than 2xx are tried again later; returns how often each came.

        `duplicates` and `bad_signatures` are shares of all; a bad one is sent besides the good one. A share
        of `late` is kept for the next call.
        """
        dice = random.Random(shuffle_seed)
        kept = [row for row in self._waiting if row.due_at > now or dice.random() < late]
        due = [row for row in self._waiting if row not in kept]
        batch = [(row, True) for row in due]
        batch += [(row, True) for row in due if dice.random() < duplicates]
        batch += [(row, False) for row in due if dice.random() < bad_signatures]
        if shuffle_seed is not None:
            dice.shuffle(batch)
        self._waiting = kept
        counts = {"delivered": 0, "refused": 0, "forged": 0, "forged_accepted": 0}
        for row, is_genuine in batch:
            secret = row.secret if is_genuine else "whsec_of_somebody_else"
            is_accepted = 200 <= send(self.signed(row.event, url=row.url, secret=secret)) < 300
            self._note(row, counts, is_genuine=is_genuine, is_accepted=is_accepted, now=now)
        return counts

    def _note(
        self, row: _Waiting, counts: dict[str, int], *, is_genuine: bool, is_accepted: bool, now: int
    ) -> None:
        if not is_genuine:
            counts["forged_accepted" if is_accepted else "forged"] += 1
            return
        counts["delivered" if is_accepted else "refused"] += 1
        if not is_accepted and row not in self._waiting and row.attempts < len(RETRY_S):
            row.due_at = now + RETRY_S[row.attempts]
            row.attempts += 1
            self._waiting.append(row)


def post(webhook: SignedWebhook) -> int:
    """Over HTTP to the endpoint's address; 0 where nobody answers."""
    parts = urlsplit(webhook.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
    headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": webhook.signature}
    try:
        connection.request("POST", parts.path or "/", body=webhook.body, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def create_endpoint(fake: Fake, params: Params) -> Obj:
    url, wanted = params.need("url"), params.texts("enabled_events")
    if not wanted:
        raise invalid("Missing required param: enabled_events.", param="enabled_events")
    endpoint = {
        "id": fake.store.new_id("we"),
        "object": "webhook_endpoint",
        "api_version": params.text("api_version"),
        "application": None,
        "created": fake.clock.now(),
        "description": params.text("description"),
        "enabled_events": wanted,
        "livemode": False,
        "metadata": merge_metadata({}, params),
        "status": "enabled",
        "url": url,
    }
    fake.store.add(endpoint)
    # As at Stripe, the secret is shown when the endpoint is made, and never again.
    return endpoint | {"secret": fake.webhook_secret}


def list_endpoints(fake: Fake, params: Params) -> Obj:
    return page(fake.store.every("webhook_endpoint"), params, url="/v1/webhook_endpoints")


def retrieve_endpoint(fake: Fake, params: Params, endpoint_id: str) -> Obj:
    return fake.store.get("webhook_endpoint", endpoint_id)


def delete_endpoint(fake: Fake, params: Params, endpoint_id: str) -> Obj:
    fake.store.get("webhook_endpoint", endpoint_id)
    fake.store.remove(endpoint_id)
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


ROUTES = [
    Route(
        "POST",
        "/v1/webhook_endpoints",
        create_endpoint,
        "WebhookEndpointCreateParams",
        "url enabled_events api_version description metadata.*",
    ),
    Route(
        "GET",
        "/v1/webhook_endpoints",
        list_endpoints,
        "WebhookEndpointListParams",
        "limit starting_after ending_before",
    ),
    Route("GET", "/v1/webhook_endpoints/{id}", retrieve_endpoint, "WebhookEndpointRetrieveParams"),
    Route("DELETE", "/v1/webhook_endpoints/{id}", delete_endpoint, "WebhookEndpointDeleteParams"),
]
