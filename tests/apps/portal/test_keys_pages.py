"""API keys in the portal: made and replaced once, shown once, ended; and whose they are."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from apps.apikeys.models import ApiKey
from apps.apikeys.portal import portal_key
from apps.audit.models import AuditEvent
from apps.core import clock as core_clock
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, make_key

LIST = "/portal/keys"
NEW = "/portal/keys/new"
FORM = {"name": "render farm", "scopes": ["images:generate", "jobs:read"]}
XSS = '<script>alert("x")</script>'


def send(browser: Client, path: str, **fields: Any) -> Any:
    """A form, with a token of its own unless one is given."""
    return browser.post(path, {"token": str(uuid4())} | fields)


def made(cast: Cast) -> list[ApiKey]:
    return list(ApiKey.objects.filter(account=cast.account, is_portal=False).exclude(pk=cast.key.pk))


def test_the_list_shows_keys_and_no_texts(ada: Client, cast: Cast) -> None:
    portal_key(account=cast.account, now=core_clock.now())

    html = ada.get(LIST).content.decode()

    assert f"dkr_{cast.key.prefix}_…" in html
    assert cast.key_text not in html
    assert html.count("row-link") == 1, "the portal's own key is no secret and not listed"
    assert cast.strangers_key.prefix not in html


def test_a_key_is_shown_once(ada: Client, cast: Cast) -> None:
    response = send(ada, NEW, **FORM)

    [key] = made(cast)
    text = re.search(r"dkr_[a-z0-9]{8}_[a-z0-9]{32}_[a-z0-9]{7}", response.content.decode())
    assert text is not None and text[0].startswith(f"dkr_{key.prefix}_")
    assert "no-store" in response["Cache-Control"]
    assert (key.name, key.scopes) == ("render farm", ["images:generate", "jobs:read"])
    for page in (LIST, f"{LIST}/{key.prefix}"):
        assert text[0] not in ada.get(page).content.decode()
    event = AuditEvent.objects.get(name="apikeys.key.created", subject_id=str(key.pk))
    assert event.actor_kind == "user"


def test_a_key_with_every_limit(ada: Client, cast: Cast) -> None:
    make_checkpoint("tiny", aliases=["sdxl"])

    send(
        ada,
        NEW,
        **FORM,
        allowed_checkpoints="sdxl",
        allowed_addresses="203.0.113.0/24, 2001:db8::/32",
        daily_cap="10",
        monthly_cap="100",
        queue_depth="5",
        max_parallel="2",
        expires_on="2026-03-31",
    )

    [key] = made(cast)
    assert key.allowed_checkpoints == ["tiny"], "by the name that requests are compared with"
    assert key.allowed_addresses == ["203.0.113.0/24", "2001:db8::/32"]
    assert (key.daily_cap, key.monthly_cap, key.queue_depth, key.max_parallel) == (10, 100, 5, 2)
    assert key.expires_at is not None and key.expires_at.isoformat() == "2026-04-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", " ", "required"),
        ("name", "x" * 101, "100"),
        ("scopes", "models:admin", "models:admin"),
        ("daily_cap", "0", "greater than or equal to 1"),
        ("daily_cap", "-1", "greater"),
        ("daily_cap", "1.5", "whole number"),
        ("monthly_cap", "99999999999", "less than or equal"),
        ("allowed_addresses", "localhost", "CIDR"),
        ("allowed_checkpoints", "nowhere", "no model nowhere"),
        ("expires_on", "2026-03-01", "over"),
        ("expires_on", "9999-12-31", "far"),
        ("expires_on", "soon", "valid date"),
    ],
)
def test_what_is_wrong_is_said_and_makes_nothing(
    ada: Client, cast: Cast, field: str, value: str, said: str
) -> None:
    response = send(ada, NEW, **(FORM | {field: value}))

    assert response.status_code == 200
    assert said in response.content.decode()
    assert made(cast) == []


def test_a_double_click_makes_one_key(ada: Client, cast: Cast) -> None:
    token = str(uuid4())

    first, second = (send(ada, NEW, **FORM, token=token) for _ in range(2))

    assert "dkr_" in first.content.decode()
    assert second.status_code == 302
    assert len(made(cast)) == 1


@pytest.mark.parametrize("token", ["", "1", XSS])
def test_without_a_token_nothing_is_made(ada: Client, cast: Cast, token: str) -> None:
    assert send(ada, NEW, **FORM, token=token).status_code == 302
    assert made(cast) == []


def test_text_of_a_key_stays_text(ada: Client, cast: Cast) -> None:
    send(ada, NEW, **(FORM | {"name": XSS}))

    [key] = made(cast)
    for page in (LIST, f"{LIST}/{key.prefix}", "/portal/jobs"):
        assert XSS not in ada.get(page).content.decode()


def test_rotation_keeps_the_old_key_for_the_overlap(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    response = send(ada, f"{LIST}/{cast.key.prefix}/rotate", overlap_s="3600")

    [successor] = made(cast)
    old = ApiKey.objects.get(pk=cast.key.pk)
    assert f"dkr_{successor.prefix}_" in response.content.decode()
    assert old.replaced_by == successor
    assert old.expires_at == clock.now() + timedelta(hours=1)
    assert "Replaced, still works" in ada.get(LIST).content.decode()


@pytest.mark.parametrize("overlap", ["", "-1", "17", "999999999"])
def test_rotation_with_another_overlap_is_refused(ada: Client, cast: Cast, overlap: str) -> None:
    assert send(ada, f"{LIST}/{cast.key.prefix}/rotate", overlap_s=overlap).status_code == 302
    assert made(cast) == []


def test_a_double_click_on_replace_makes_one_successor(ada: Client, cast: Cast) -> None:
    token = str(uuid4())
    for _ in range(2):
        send(ada, f"{LIST}/{cast.key.prefix}/rotate", overlap_s="3600", token=token)

    assert len(made(cast)) == 1
    # Another window with a token of its own is refused by the key itself.
    page = ada.post(
        f"{LIST}/{cast.key.prefix}/rotate", {"overlap_s": "0", "token": str(uuid4())}, follow=True
    )
    assert "was replaced before" in page.content.decode()
    assert len(made(cast)) == 1


def test_revoking_ends_a_key_at_once(ada: Client, cast: Cast) -> None:
    page = ada.post(f"{LIST}/{cast.key.prefix}/revoke", follow=True)

    assert "is revoked" in page.content.decode()
    assert not ApiKey.objects.get(pk=cast.key.pk).is_usable(now=core_clock.now())
    again = ada.post(f"{LIST}/{cast.key.prefix}/revoke", follow=True)
    assert "already revoked" in again.content.decode()
    assert AuditEvent.objects.filter(name="apikeys.key.revoked").count() == 1


@pytest.mark.parametrize("act", ["", "/rotate", "/revoke"])
def test_a_strangers_key_is_not_found_and_noted(ada: Client, cast: Cast, act: str) -> None:
    path = f"{LIST}/{cast.strangers_key.prefix}{act}"

    response = send(ada, path, overlap_s="0") if act else ada.get(path)

    assert response.status_code == 404
    assert ApiKey.objects.get(pk=cast.strangers_key.pk).is_usable(now=core_clock.now())
    assert AuditEvent.objects.get(name="portal.foreign_id").account_id == cast.account.pk


def test_the_portals_own_key_has_no_page(ada: Client, cast: Cast) -> None:
    key = portal_key(account=cast.account, now=core_clock.now())

    assert ada.get(f"{LIST}/{key.prefix}").status_code == 404
    assert ada.post(f"{LIST}/{key.prefix}/revoke").status_code == 404


def test_who_may_only_look_sees_no_keys(viewer: Client, cast: Cast) -> None:
    for path in (LIST, NEW, f"{LIST}/{cast.key.prefix}"):
        assert viewer.get(path).status_code == 403
    assert send(viewer, NEW, **FORM).status_code == 403
    assert viewer.post(f"{LIST}/{cast.key.prefix}/revoke").status_code == 403
    assert made(cast) == []
    assert ApiKey.objects.get(pk=cast.key.pk).is_usable(now=core_clock.now())


def test_keys_that_ended_are_kept_apart(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    make_key(cast.account, name="for a day", expires_at=clock.now() + timedelta(days=1))
    clock.advance(days=2)

    html = ada.get(LIST).content.decode()

    assert "1 key that no longer works" in html and "Expired" in html


def test_a_key_is_edited_and_goes_on(ada: Client, cast: Cast) -> None:
    path = f"{LIST}/{cast.key.prefix}/edit"
    html = ada.get(path).content.decode()
    assert f'value="{cast.key.name}"' in html

    response = send(ada, path, **FORM | {"name": "night shift", "queue_depth": "3", "max_parallel": "1"})

    assert response["Location"] == f"{LIST}/{cast.key.prefix}"
    key = ApiKey.objects.get(pk=cast.key.pk)
    assert (key.name, key.scopes, key.queue_depth, key.max_parallel, key.digest) == (
        "night shift",
        ["images:generate", "jobs:read"],
        3,
        1,
        cast.key.digest,
    )
    event = AuditEvent.objects.get(name="apikeys.key.edited", subject_id=str(key.pk))
    assert event.actor_kind == "user"


def test_an_edit_leaves_the_hour_of_the_end(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    """A replaced key ends at an hour of its own; the form knows days alone."""
    end = clock.now() + timedelta(days=2, hours=5)
    ApiKey.objects.filter(pk=cast.key.pk).update(expires_at=end)
    day = (end.date()).isoformat()

    send(ada, f"{LIST}/{cast.key.prefix}/edit", **FORM | {"expires_on": day})
    assert ApiKey.objects.get(pk=cast.key.pk).expires_at == end
    send(ada, f"{LIST}/{cast.key.prefix}/edit", **FORM | {"expires_on": ""})
    assert ApiKey.objects.get(pk=cast.key.pk).expires_at is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("scopes", []), ("scopes", ["models:admin"]), ("max_parallel", "0"), ("daily_cap", "-1")],
)
def test_a_bad_edit_changes_nothing(ada: Client, cast: Cast, field: str, value: Any) -> None:
    before = ApiKey.objects.filter(pk=cast.key.pk).values().get()
    events = AuditEvent.objects.count()
    response = send(ada, f"{LIST}/{cast.key.prefix}/edit", **FORM | {field: value})
    assert (response.status_code, AuditEvent.objects.count()) == (200, events)
    assert ApiKey.objects.filter(pk=cast.key.pk).values().get() == before


def test_a_strangers_key_is_not_edited(ada: Client, cast: Cast) -> None:
    response = send(ada, f"{LIST}/{cast.strangers_key.prefix}/edit", **FORM)
    assert response.status_code == 404
    assert AuditEvent.objects.filter(name="portal.foreign_id").count() == 1
    assert ApiKey.objects.get(pk=cast.strangers_key.pk).name == cast.strangers_key.name


def test_a_switched_off_account_may_revoke_and_nothing_else(ada: Client, cast: Cast) -> None:
    type(cast.account).objects.filter(pk=cast.account.pk).update(is_active=False)
    path = f"{LIST}/{cast.key.prefix}"

    send(ada, f"{path}/edit", **FORM)
    send(ada, f"{path}/rotate", overlap_s="0")
    assert made(cast) == [] and ApiKey.objects.get(pk=cast.key.pk).name == cast.key.name
    send(ada, f"{path}/revoke")
    assert ApiKey.objects.get(pk=cast.key.pk).revoked_at is not None
