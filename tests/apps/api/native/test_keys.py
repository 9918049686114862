"""GET, POST and DELETE /v1/keys, and /v1/usage: what a key passes on is at most what it has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.apikeys.choices import ALL_SCOPES, CUSTOMER_SCOPES, DEFAULT_SCOPES, Scope
from apps.apikeys.delegation import issue_by_key
from apps.apikeys.models import ApiKey
from apps.apikeys.services import IssuedKey
from apps.audit.models import AuditEvent
from apps.core import clock
from tests.apps.api.client import ApiClient
from tests.apps.api.native.conftest import NativeClient
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_key

WITHOUT_KEYS = tuple(scope for scope in CUSTOMER_SCOPES if scope != Scope.KEYS_WRITE)


def client_of(cast: Cast, **options: Any) -> ApiClient:
    return ApiClient(make_key(cast.account, **options).plaintext)


@pytest.fixture
def narrow(cast: Cast) -> ApiClient:
    """A key that may do a little, for a while, from two networks, with one model."""
    return client_of(
        cast,
        scopes=[Scope.KEYS_WRITE, Scope.JOBS_READ],
        expires_at=clock.now() + timedelta(days=10),
        allowed_checkpoints=["tiny"],
        allowed_addresses=["127.0.0.0/8", "2001:db8::/32"],
    )


def test_a_new_key_is_told_once_and_works(ada: ApiClient, cast: Cast) -> None:
    response = ada.post("/v1/keys", {"name": "ci"})

    body = response.json()
    assert response.status_code == 201
    assert body["name"] == "ci"
    assert body["account"] == cast.account.slug
    assert body["scopes"] == list(DEFAULT_SCOPES)
    assert (body["state"], body["is_current"]) == ("active", False)
    assert body["key"].startswith(f"dkr_{body['id']}_")
    assert ApiClient(body["key"]).get("/v1/jobs").status_code == 200
    shown = ada.get(f"/v1/keys/{body['id']}").json()
    assert shown.keys() == body.keys() - {"key"}
    event = AuditEvent.objects.get(name="apikeys.key.created", subject_id=str(ApiKey.objects.latest("pk").pk))
    assert event.actor_id == str(cast.key.pk)


def test_everything_can_be_chosen(ada: ApiClient) -> None:
    wanted = {
        "name": "box",
        "scopes": ["jobs:read", "jobs:read"],
        "expires_at": "2026-05-01T02:00:00+02:00",
        "allowed_models": ["tiny"],
        "allowed_addresses": ["10.0.0.0/8"],
        "daily_cap": 5,
    }

    body = ada.post("/v1/keys", wanted).json()

    assert body["scopes"] == ["jobs:read"]
    assert body["expires_at"] == "2026-05-01T00:00:00.000000Z"
    for name in ("name", "allowed_models", "allowed_addresses", "daily_cap"):
        assert body[name] == wanted[name]


def test_a_key_passes_on_what_it_has(narrow: ApiClient) -> None:
    body = narrow.post("/v1/keys", {"name": "child"}).json()

    assert body["scopes"] == ["jobs:read"]
    assert body["expires_at"] == "2026-03-12T12:00:00.000000Z"
    assert body["allowed_models"] == ["tiny"]
    assert body["allowed_addresses"] == ["127.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("wish", "status", "code", "told"),
    [
        ({"scopes": ["images:generate"]}, 403, "scope_missing", "lacks the scope images:generate"),
        ({"scopes": ["models:admin"]}, 403, "scope_missing", "lacks the scope models:admin"),
        ({"expires_at": "2026-03-12T12:00:01Z"}, 400, "invalid_field", "expires_at must not be after"),
        ({"allowed_models": ["tiny", "sdxl"]}, 400, "invalid_field", "allowed_models names a model"),
        ({"allowed_addresses": ["10.0.0.0/8"]}, 400, "invalid_field", "not work from: 10.0.0.0/8"),
        ({"allowed_addresses": ["0.0.0.0/0"]}, 400, "invalid_field", "not work from: 0.0.0.0/0"),
        ({"allowed_addresses": ["::/0"]}, 400, "invalid_field", "not work from: ::/0"),
        ({"allowed_addresses": ["127.0.0.1/8"]}, 400, "invalid_field", "is not in CIDR form"),
    ],
)
def test_a_key_makes_none_that_is_stronger(
    narrow: ApiClient, wish: dict[str, Any], status: int, code: str, told: str
) -> None:
    before = ApiKey.objects.count()

    response = narrow.post("/v1/keys", {"name": "child"} | wish)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert told in response.json()["detail"]
    assert ApiKey.objects.count() == before


def test_part_of_what_it_has_is_fine(narrow: ApiClient) -> None:
    wish = {
        "name": "child",
        "scopes": ["keys:write"],
        "expires_at": "2026-03-03T00:00:00Z",
        "allowed_addresses": ["127.0.0.1/32", "2001:db8:1::/48"],
    }

    assert narrow.post("/v1/keys", wish).status_code == 201


def test_a_capped_key_makes_none(cast: Cast) -> None:
    # Two keys with the cap would be twice the cap.
    response = client_of(cast, daily_cap=3).post("/v1/keys", {"name": "child", "daily_cap": 3})

    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert "daily cap" in response.json()["detail"]


def test_a_key_that_is_being_revoked_makes_none(
    ada: ApiClient, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ApiKey.objects.count()

    def revoked_meanwhile(*, maker: ApiKey, **wish: Any) -> IssuedKey:
        ApiKey.objects.filter(pk=maker.pk).update(revoked_at=clock.now())
        return issue_by_key(maker=maker, **wish)

    monkeypatch.setattr("apps.api.native.keys.issue_by_key", revoked_meanwhile)

    response = ada.post("/v1/keys", {"name": "last"})

    assert (response.status_code, response.json()["code"]) == (401, "api_key_invalid")
    assert ApiKey.objects.count() == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": " "}, "#/name"),
        ({"name": "x" * 101}, "#/name"),
        ({"name": "x", "scopes": []}, "#/scopes"),
        ({"name": "x", "scopes": ["everything"]}, "#/scopes/0"),
        ({"name": "x", "expires_at": "tomorrow"}, "#/expires_at"),
        ({"name": "x", "expires_at": "2027-01-01T00:00:00"}, "#/expires_at"),
        ({"name": "x", "expires_at": "2026-03-02T12:00:00Z"}, "#/expires_at"),
        ({"name": "x", "daily_cap": -1}, "#/daily_cap"),
        ({"name": "x", "allowed_addresses": ["here"]}, "#/allowed_addresses"),
        ({"name": "x", "prefix": "abcdefgh"}, "#/prefix"),
    ],
)
def test_what_is_wrong_is_named(ada: ApiClient, body: dict[str, Any], pointer: str) -> None:
    response = ada.post("/v1/keys", body)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_field")
    assert response.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_other_keys_keep_out(cast: Cast, method: str) -> None:
    client = client_of(cast, scopes=WITHOUT_KEYS)
    path = "/v1/keys" if method != "delete" else f"/v1/keys/{cast.key.prefix}"

    response = getattr(client, method)(path)

    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")
    assert client.get(f"/v1/keys/{cast.key.prefix}").status_code == 403


def test_every_key_may_look_at_itself(cast: Cast, anybody: ApiClient) -> None:
    issued = make_key(cast.account, scopes=[Scope.JOBS_CANCEL], name="small")

    body = ApiClient(issued.plaintext).get("/v1/keys/current").json()

    assert (body["id"], body["name"], body["is_current"]) == (issued.key.prefix, "small", True)
    assert anybody.get("/v1/keys/current").status_code == 401


def test_the_list_is_of_the_account_and_in_pages(ada: ApiClient, cleo: ApiClient, cast: Cast) -> None:
    made = [make_key(cast.account, name=f"key {number}").key.prefix for number in range(4)]

    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = ada.get(f"/v1/keys?limit=2&cursor={cursor}").json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert seen == [*reversed(made), cast.key.prefix]
    assert [item["id"] for item in cleo.get("/v1/keys").json()["items"]] == [cast.strangers_key.prefix]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=-1", "state=active"])
def test_a_list_refuses_what_it_does_not_know(ada: ApiClient, query: str) -> None:
    response = ada.get(f"/v1/keys?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_field")
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_ending_a_key(ada: ApiClient, cast: Cast) -> None:
    issued = make_key(cast.account)

    response = ada.delete(f"/v1/keys/{issued.key.prefix}")

    assert (response.status_code, response.json()["state"]) == (200, "revoked")
    assert ApiClient(issued.plaintext).get("/v1/jobs").status_code == 401
    assert ada.delete(f"/v1/keys/{issued.key.prefix}").status_code == 409


def test_a_key_may_end_itself(ada: ApiClient, cast: Cast) -> None:
    assert ada.delete(f"/v1/keys/{cast.key.prefix}").status_code == 200
    assert ada.get("/v1/keys/current").status_code == 401


def test_stronger_keys_and_those_of_others_stay(ada: ApiClient, cast: Cast) -> None:
    stronger = make_key(cast.account, scopes=ALL_SCOPES).key

    assert ada.delete(f"/v1/keys/{stronger.prefix}").status_code == 403
    assert ada.delete(f"/v1/keys/{cast.strangers_key.prefix}").status_code == 404
    assert ada.get(f"/v1/keys/{cast.strangers_key.prefix}").status_code == 404
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


def test_ended_keys_say_so(ada: ApiClient, cast: Cast, clock: FrozenClock) -> None:
    expiring = make_key(cast.account, expires_at=clock.now() + timedelta(hours=1)).key
    clock.advance(hours=2)

    assert ada.get(f"/v1/keys/{expiring.prefix}").json()["state"] == "expired"


def test_usage_of_a_limited_plan(ada: NativeClient, cast: Cast) -> None:
    give_plan(cast.account, calls_per_day=10, queue_depth=5, max_samples=4, kinds=["upscale", "txt2img"])
    ada.create()

    body = ada.get("/v1/usage").json()

    assert body["account"] == cast.account.slug
    assert body["calls"] == {
        "limit": 10,
        "used": 0,
        "reserved": 1,
        "remaining": 9,
        "resets_at": "2026-03-03T00:00:00.000000Z",
    }
    assert body["queue"] == {"limit": 5, "open": 1}
    assert (body["max_images"], body["kinds"]) == (4, ["txt2img", "upscale"])
    assert len(body["days"]) == 30
    assert body["days"][0] == {"day": "2026-03-02", "calls": 0}
    assert body["days"][-1]["day"] == "2026-02-01"


def test_usage_without_limits_says_null(ada: ApiClient, cast: Cast) -> None:
    give_plan(cast.account, calls_per_day="unlimited", queue_depth="unlimited")

    body = ada.get("/v1/usage").json()

    assert (body["calls"]["limit"], body["calls"]["remaining"], body["queue"]["limit"]) == (None, None, None)


def test_usage_needs_the_scope_of_reading(cast: Cast) -> None:
    response = client_of(cast, scopes=[Scope.IMAGES_GENERATE]).get("/v1/usage")

    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")
