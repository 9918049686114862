"""Webhooks: asked for in the ModelsLab dialect, delivered in its body; and the native endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from standardwebhooks.webhooks import Webhook

from apps.api.native.webhooks_fields import replay_of
from apps.apikeys.choices import DEFAULT_SCOPES
from apps.artifacts.models import Artifact
from apps.core import clock as core_clock
from apps.webhooks.bodies import Event, render_body
from apps.webhooks.deliverer import run_deliverer
from apps.webhooks.models import Delivery, Endpoint
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast, assemble_cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, make_key
from tests.harness.receiver import Receiver

HOOK = "https://example.com/hook"


def told(row: Delivery) -> dict[str, Any]:
    """The body as its dialect makes it."""
    event = Event(event_id=row.event_id, name=row.event, job_id=row.job_id, created_at=row.created_at)
    body: dict[str, Any] = json.loads(render_body(event, dialect=row.dialect))
    return body


def ended(client: ApiClient, *, is_failed: bool = False, **fields: Any) -> Delivery:
    """The delivery about a job that a worker has brought to its end."""
    answer = client.submit(webhook=HOOK, track_id="order 7", **fields)
    assert answer.status_code == 200, answer.content
    claimed = jobs.claim()
    jobs.fail(claimed) if is_failed else jobs.finish(claimed)
    return Delivery.objects.get(job_id=answer.json()["id"])


def test_a_success_is_told_as_modelslab_tells_it(ada: ApiClient) -> None:
    row = ended(ada, samples=2)

    body = told(row)

    fetched = ada.post(f"/api/v6/images/fetch/{row.job_id}").json()
    assert body == fetched | {"track_id": "order 7"}
    assert (body["status"], body["id"], len(body["output"])) == ("success", row.job_id, 2)
    assert {"generationTime", "meta", "proxy_links"} < body.keys()


def test_a_failure_is_told_as_modelslab_tells_it(ada: ApiClient) -> None:
    assert told(ended(ada, is_failed=True)) == {
        "status": "failed",
        "id": Delivery.objects.get().job_id,
        "message": "It does not fit.",
        "messege": "It does not fit.",
        "output": "",
        "track_id": "order 7",
    }


def test_what_arrives_after_its_images_says_so(ada: ApiClient, clock: FrozenClock) -> None:
    row = ended(ada)
    clock.move_to(Artifact.objects.get().expires_at)
    body = told(row)
    assert (body["status"], body["output"], body["track_id"]) == ("failed", "", "order 7")
    assert "expired" in body["message"]


def test_the_native_body_is_the_job(ada: ApiClient) -> None:
    row = ended(ada)
    row.dialect = "native"
    body = told(row)
    assert (body["type"], body["data"]) == ("job.succeeded", ada.get(f"/v1/jobs/{row.job_id}").json())


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://example.com/hook", "webhook must begin with https:// on this server"),
        ("https://192.168.1.1/", "inside a private network"),
        ("hook", "webhook must be a URL that begins with https:// or http://"),
    ],
)
def test_an_unusable_webhook_is_refused_and_leaves_no_trace(ada: ApiClient, url: str, problem: str) -> None:
    answer = ada.submit(webhook=url)
    assert answer.status_code == 400
    assert problem in answer.json()["message"]
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.django_db(transaction=True)
def test_from_request_to_receiver(receiver: Receiver, settings: Any) -> None:
    settings.SYNC_WAIT_S = 0.0
    cast = assemble_cast(now=core_clock.now())
    make_checkpoint("tiny")
    ada = ApiClient(cast.key_text)
    secret = ada.post("/v1/webhooks/secret").json()["secret"]
    job_id = ada.submit(webhook=receiver.url("/hook?shop=1"), track_id=7).json()["id"]
    jobs.run_all()

    assert run_deliverer(linger_s=0.0) == 1

    [got] = receiver.requests
    body = Webhook(secret).verify(got.body, dict(got.headers))
    assert (got.path, body["id"], body["track_id"], body["status"]) == ("/hook?shop=1", job_id, 7, "success")
    [line] = ada.get(f"/v1/webhooks/deliveries?job_id={job_id}").json()["items"]
    assert (line["id"], line["state"], line["last_status"]) == (got.event_id, "delivered", 200)
    connection.close()


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with Receiver() as receiver:
        settings.FETCH_ALLOW = [receiver.allowed]
        settings.WEBHOOK_HTTPS = False
        yield receiver


# --- the native endpoints ---


def test_the_log_in_pages_newest_first(ada: ApiClient, cast: Cast) -> None:
    rows = [queue_row(cast.account) for _ in range(5)]
    Delivery.objects.filter(pk=rows[0].pk).update(state="failed", ended_at=core_clock.now())

    first = ada.get("/v1/webhooks/deliveries?limit=3").json()
    rest = ada.get(f"/v1/webhooks/deliveries?limit=3&cursor={first['next_cursor']}").json()

    seen = [item["id"] for item in first["items"] + rest["items"]]
    assert seen == [row.event_id for row in reversed(rows)]
    assert rest["next_cursor"] is None
    [failed] = ada.get("/v1/webhooks/deliveries?state=failed").json()["items"]
    assert failed["id"] == rows[0].event_id


def test_one_delivery_with_its_attempts(ada: ApiClient, cast: Cast) -> None:
    row = queue_row(cast.account)
    Delivery.objects.filter(pk=row.pk).update(body=b'{"a":1}', attempts=1, last_error="no")
    row.tries.create(started_at=core_clock.now(), duration_ms=12, error="no", answer="")

    body = ada.get(f"/v1/webhooks/deliveries/{row.event_id}").json()

    assert body == {
        "id": row.event_id,
        "event": "webhook.test",
        "job_id": None,
        "import_id": None,
        "url": HOOK,
        "state": "waiting",
        "attempts": 1,
        "last_status": None,
        "last_error": "no",
        "created_at": "2026-03-02T12:00:00.000000Z",
        "next_attempt_at": "2026-03-02T12:00:00.000000Z",
        "ended_at": None,
        "body": '{"a":1}',
        "tries": [
            {
                "started_at": "2026-03-02T12:00:00.000000Z",
                "duration_ms": 12,
                "status": None,
                "error": "no",
                "answer": "",
            }
        ],
    }


def test_a_stranger_sees_and_moves_nothing(ada: ApiClient, cleo: ApiClient, cast: Cast) -> None:
    row = queue_row(cast.account)
    Delivery.objects.filter(pk=row.pk).update(state="failed", ended_at=core_clock.now())
    Endpoint.objects.create(account=cast.account, address=HOOK, failures=1, updated_at=core_clock.now())

    assert cleo.get("/v1/webhooks/deliveries").json()["items"] == []
    assert cleo.get("/v1/webhooks/endpoints").json()["items"] == []
    assert cleo.get(f"/v1/webhooks/deliveries/{row.event_id}").status_code == 404
    assert cleo.post(f"/v1/webhooks/deliveries/{row.event_id}/replay").status_code == 404
    assert Delivery.objects.get().state == "failed"
    assert len(ada.get("/v1/webhooks/endpoints").json()["items"]) == 1


def test_a_key_without_the_scope_only_looks(cast: Cast) -> None:
    key = ApiClient(make_key(cast.account, scopes=DEFAULT_SCOPES).plaintext)
    assert key.get("/v1/webhooks/deliveries").status_code == 200
    for path in ("secret", "test", "replay", "deliveries/msg_1/replay"):
        refused = key.post(f"/v1/webhooks/{path}")
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("test", {}, "url is required"),
        ("test", {"url": 7}, "url must be a URL"),
        ("test", {"url": "https://10.0.0.1/"}, "url cannot be used: 10.0.0.1 is an address inside"),
        ("test", {"uri": HOOK}, "uri is not known here; there are url"),
        ("secret", {"overlap_s": "soon"}, "overlap_s must be a number of seconds"),
        ("secret", {"overlap_s": 10**6}, "overlap_s must be 0 to 604800, not 1000000"),
        ("replay", {"since": "yesterday"}, "since must be a time such as 2026-03-02T12:00:00Z"),
        ("replay", {"since": "0001-01-01T00:00:00+05:00"}, "since must be a time of this era"),
        ("replay", {"url": "hook"}, "url must be a URL that begins with"),
    ],
)
def test_wrong_requests_are_told_what_to_change(
    ada: ApiClient, path: str, body: dict[str, Any], problem: str
) -> None:
    answer = ada.post(f"/v1/webhooks/{path}", body)
    assert answer.status_code == 400
    assert problem in answer.json()["detail"]


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=101", "cursor=x", "job_id=-1", "page=2"])
def test_wrong_parameters_are_refused(ada: ApiClient, query: str) -> None:
    answer = ada.get(f"/v1/webhooks/deliveries?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_field")


@pytest.mark.django_db(transaction=True)
class TestActs:
    """Each opens a transaction of its own."""

    @pytest.fixture
    def ada(self, cast: Cast) -> ApiClient:
        return ApiClient(cast.key_text)

    def test_a_secret_is_shown_once(self, ada: ApiClient) -> None:
        made = ada.post("/v1/webhooks/secret", {"overlap_s": 0})
        assert made.status_code == 201
        secret = made.json()["secret"]
        assert secret.startswith("whsec_")
        listed = ada.get("/v1/webhooks/secret")
        assert [item["ends_with"] for item in listed.json()["items"]] == [secret[-4:]]
        assert secret not in listed.content.decode()

    def test_the_secret_before_goes_on_for_a_day(self, ada: ApiClient) -> None:
        ada.post("/v1/webhooks/secret")
        ada.post("/v1/webhooks/secret")
        ends = [item["ends_at"] for item in ada.get("/v1/webhooks/secret").json()["items"]]
        assert ends == [None, "2026-03-03T12:00:00.000000Z"]

    def test_a_test_is_queued_once_for_an_idempotency_key(self, ada: ApiClient) -> None:
        first = ada.post("/v1/webhooks/test", {"url": HOOK}, Idempotency_Key="t1")
        again = ada.post("/v1/webhooks/test", {"url": HOOK}, Idempotency_Key="t1")
        assert (first.status_code, first.content) == (202, again.content)
        row = Delivery.objects.get()
        assert first["Location"] == f"/v1/webhooks/deliveries/{row.event_id}"

    def test_replays(self, ada: ApiClient, cast: Cast) -> None:
        rows = [queue_row(cast.account) for _ in range(3)]
        Delivery.objects.update(state="failed", ended_at=core_clock.now())
        answer = ada.post(f"/v1/webhooks/deliveries/{rows[0].event_id}/replay")
        assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
        everything = ada.post("/v1/webhooks/replay", {"url": HOOK})
        assert (everything.status_code, everything.json()) == (202, {"count": 2})
        Delivery.objects.filter(pk=rows[0].pk).update(state="sending", claimed_by="me")
        busy = ada.post(f"/v1/webhooks/deliveries/{rows[0].event_id}/replay")
        assert (busy.status_code, busy.json()["code"]) == (409, "conflict")


def test_far_offsets_are_read_as_the_moment_they_mean() -> None:
    since, _ = replay_of({"since": "2026-03-01T12:00:00-19:00"}, now=FrozenClock().now())

    # PostgreSQL would refuse the offset itself.
    assert since.isoformat() == "2026-03-02T07:00:00+00:00"
