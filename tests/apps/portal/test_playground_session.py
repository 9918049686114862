"""The native API in the portal's own browser: a session instead of a key, and what it must not open."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from apps.accounts.choices import Role
from apps.accounts.models import Membership, User
from apps.apikeys import portal
from apps.apikeys.models import ApiKey
from apps.apikeys.portal import portal_key
from apps.apikeys.services import revoke_api_key, rotate_api_key
from apps.audit.refs import SYSTEM
from apps.core import clock as core_clock
from apps.core.errors import Conflict
from apps.generation.models import GenerationJob
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import make_checkpoint, png_bytes

BODY = {"model": "tiny", "prompt": "a red fox"}


class Browser:
    """Signed in as somebody, on a page of the portal that knows the session's token."""

    def __init__(self, user: User | None) -> None:
        self.http = Client(enforce_csrf_checks=True, raise_request_exception=False)
        if user is not None:
            self.http.force_login(user)
        self.token = "t" * 32
        self.http.cookies["csrftoken"] = self.token

    def post(self, path: str, body: Any = None, *, token: str | None = None) -> Any:
        given = {"X-CSRFToken": self.token if token is None else token}
        return self.http.post(path, json.dumps(body or {}), "application/json", headers=given)


@pytest.fixture
def ada(cast: Cast) -> Browser:
    make_checkpoint("tiny")
    return Browser(cast.ada)


def test_a_member_generates_without_a_key(ada: Browser, cast: Cast) -> None:
    response = ada.post("/v1/jobs", BODY)

    assert response.status_code == 202, response.content
    job = GenerationJob.objects.get()
    assert job.account == cast.account
    assert job.api_key is not None and job.api_key.is_portal and job.api_key.name == "Portal"
    assert ada.http.get(f"/v1/jobs/{job.pk}").json()["state"] == "queued"


def test_one_portal_key_an_account(ada: Browser, cast: Cast) -> None:
    ada.post("/v1/jobs", BODY)
    Browser(cast.ben).post("/v1/jobs", BODY)

    assert ApiKey.objects.filter(is_portal=True).count() == 1


def test_two_that_make_the_portal_key_at_once_get_the_same(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = portal_key(account=cast.account, now=core_clock.now())
    # The slower one looked before the faster one had committed.
    monkeypatch.setattr(portal, "_find", lambda account: None)

    assert portal_key(account=cast.account, now=core_clock.now()) == first


@pytest.mark.parametrize("token", ["", "x" * 32])
def test_without_the_pages_token_nothing_happens(ada: Browser, token: str) -> None:
    response = ada.post("/v1/jobs", BODY, token=token)

    assert (response.status_code, response.json()["code"]) == (403, "csrf_refused")
    assert not GenerationJob.objects.exists()


def test_a_request_from_another_site_is_refused_with_the_right_token(ada: Browser) -> None:
    response = ada.http.post(
        "/v1/jobs",
        json.dumps(BODY),
        "application/json",
        headers={"X-CSRFToken": ada.token, "Origin": "https://evil.example"},
    )

    assert response.json()["code"] == "csrf_refused"


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_form_of_another_site_is_refused_unread(ada: Browser, content_type: str) -> None:
    response = ada.http.post("/v1/jobs", b"prompt=fox&model=tiny", content_type)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")
    assert not GenerationJob.objects.exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
def test_a_role_without_the_playground_is_refused(ada: Browser, cast: Cast, role: Role) -> None:
    Membership.objects.filter(user=cast.ben).update(role=role)
    ben = Browser(cast.ben)

    for response in (ben.post("/v1/jobs", BODY), ben.http.get("/v1/jobs")):
        assert (response.status_code, response.json()["code"]) == (403, "role_missing")
    assert not GenerationJob.objects.exists()


def test_a_strangers_session_finds_nothing(ada: Browser, cast: Cast) -> None:
    job_id = ada.post("/v1/jobs", BODY).json()["id"]
    cleo = Browser(cast.cleo)

    assert cleo.http.get("/v1/jobs").json()["items"] == []
    for response in (
        cleo.http.get(f"/v1/jobs/{job_id}"),
        cleo.http.get(f"/v1/jobs/{job_id}/events"),
        cleo.post(f"/v1/jobs/{job_id}/cancel"),
    ):
        assert response.status_code == 404
    assert GenerationJob.objects.get().state == "queued"


def test_a_session_of_nobody_is_no_caller(cast: Cast) -> None:
    nobody = Browser(None)
    nobody.http.cookies["sessionid"] = "made-up"

    assert nobody.http.get("/v1/jobs").json()["code"] == "api_key_missing"
    otto = Browser(cast.otto)
    assert otto.http.get("/v1/jobs").json()["code"] == "api_key_missing"


def test_a_switched_off_account_ends_its_sessions(ada: Browser, cast: Cast) -> None:
    account = cast.account
    account.is_active = False
    account.save(update_fields=["is_active"])

    assert ada.http.get("/v1/jobs").json()["code"] == "api_key_invalid"


def test_a_key_counts_before_the_session(ada: Browser, cast: Cast) -> None:
    """A tool in a browser with a session of its own acts as the key it was given."""
    response = ada.http.post(
        "/v1/jobs",
        json.dumps(BODY),
        "application/json",
        headers={"Authorization": f"Bearer {cast.strangers_key_text}"},
    )

    assert response.status_code == 202
    assert GenerationJob.objects.get().account == cast.strangers_account


def test_a_picture_is_uploaded_as_it_is(ada: Browser) -> None:
    response = ada.http.post("/v1/uploads", png_bytes(), "image/png", headers={"X-CSRFToken": ada.token})

    assert response.status_code == 201, response.content


def test_other_dialects_know_no_sessions(ada: Browser) -> None:
    assert ada.post("/api/v6/images/text2img", {"model_id": "tiny", "prompt": "fox"}).status_code == 401
    assert ada.post("/v1/images/generations", {"model": "tiny", "prompt": "fox"}).status_code == 401
    assert ada.post("/sdapi/v1/txt2img", {"prompt": "fox"}).status_code == 401


def test_a_session_makes_no_keys(ada: Browser) -> None:
    assert ada.post("/v1/keys", {"name": "mine"}).json()["code"] == "scope_missing"


def test_nobody_can_sign_in_with_the_portals_key(ada: Browser, cast: Cast) -> None:
    """Even whoever could write its digest into the database would be refused."""
    key = portal_key(account=cast.account, now=core_clock.now())
    ApiKey.objects.filter(pk=cast.key.pk).update(is_portal=False)
    ApiKey.objects.filter(pk=key.pk).delete()
    ApiKey.objects.filter(pk=cast.key.pk).update(is_portal=True)

    assert ApiClient(cast.key_text).get("/v1/jobs").json()["code"] == "api_key_invalid"


def test_the_portals_key_is_neither_listed_nor_ended(cast: Cast) -> None:
    key = portal_key(account=cast.account, now=core_clock.now())
    client = ApiClient(cast.key_text)

    assert key.prefix not in [item["id"] for item in client.get("/v1/keys").json()["items"]]
    assert client.delete(f"/v1/keys/{key.prefix}").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_the_portals_key_is_never_rotated_or_revoked(cast: Cast) -> None:
    now = core_clock.now()
    key = portal_key(account=cast.account, now=now)

    with pytest.raises(Conflict, match="portal"):
        rotate_api_key(key=key, overlap=now - now, actor=SYSTEM, now=now)
    with pytest.raises(Conflict, match="portal"):
        revoke_api_key(key=key, actor=SYSTEM, now=now)
    assert ApiKey.objects.get(pk=key.pk).is_usable(now=now)
