"""One API request: who asks, whether it was asked before, what serves it, how it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.fake_stripe.account import ROUTES
from tests.fake_stripe.errors import Refusal
from tests.fake_stripe.events import API_VERSION
from tests.fake_stripe.expand import expanded
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.faults import strike_after, strike_before
from tests.fake_stripe.idempotency import Answer
from tests.fake_stripe.params import parse
from tests.fake_stripe.routes import find_route


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    encoded: str
    """The query of a GET or DELETE, the body of a POST."""
    headers: Mapping[str, str]


def answer(fake: Fake, request: Request) -> tuple[Answer, dict[str, str]]:
    """The answer and headers of its own. Raises ConnectionCut where a fault wants it."""
    fault = fake.faults.take(request.method, request.path)
    try:
        _require_credentials(fake, request)
        strike_before(fault)
        given, headers = _answer_once(fake, request)
    except Refusal as refusal:
        return Answer(refusal.status, refusal.body()), {}
    strike_after(fault)
    return given, headers


def _require_credentials(fake: Fake, request: Request) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or key != fake.secret_key:
        shown = f"{key[:8]}***" if key else "none"
        raise Refusal(401, f"Invalid API Key provided: {shown}", code="api_key_invalid")
    version = request.headers.get("Stripe-Version", API_VERSION)
    if version != API_VERSION:
        raise Refusal(400, f"Invalid Stripe API version: {version}. This fake speaks {API_VERSION}.")


def _answer_once(fake: Fake, request: Request) -> tuple[Answer, dict[str, str]]:
    key = request.headers.get("Idempotency-Key")
    if request.method != "POST" or key is None:
        return _serve(fake, request, key=None), {}
    text = f"{request.method} {request.path}\n{request.encoded}"
    remembered = fake.idempotency.begin(key, request=text, now=fake.clock.now())
    if remembered is not None:
        return remembered, {"Idempotent-Replayed": "true"}
    given = Answer(500, {})
    try:
        given = _serve(fake, request, key=key)
    finally:
        fake.idempotency.end(key, given)
    return given, {}


def _serve(fake: Fake, request: Request, *, key: str | None) -> Answer:
    with fake.lock:
        fake.log.append(f"{request.method} {request.path}")
        fake.request_id, fake.request_key = f"req_{len(fake.log):06d}", key
        try:
            route, ids = find_route(ROUTES, request.method, request.path)
            params = parse(request.encoded)
            route.require_known(params)
            made = route.handler(fake, params, *ids)
            return Answer(200, expanded(fake.store, made, params.texts("expand")))
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body())
