"""The pages about signing in that are our own instead of allauth's: what they say, and where they lead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.webauthn.internal.auth import WebAuthn
from django.test import Client

from apps.accounts.models import User
from tests.cast import OTTO_PASSWORD, Cast
from tests.soft_key import SoftKey

KEYS = "/accounts/2fa/webauthn/"


@pytest.fixture
def otto(cast: Cast) -> Client:
    """Otto's browser: signed in, and asked for his password a moment ago."""
    client = Client()
    client.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    client.post("/accounts/reauthenticate/", {"password": OTTO_PASSWORD})
    return client


def give_key(user: User, name: str, *, is_passkey: bool = False) -> int:
    asked = {"publicKey": {"user": {"id": str(user.pk)}, "challenge": "Y2hhbGxlbmdl"}}
    credential = json.loads(SoftKey().register(asked))
    credential["clientExtensionResults"] = {"credProps": {"rk": is_passkey}}
    WebAuthn.add(user, name, credential)
    return int(Authenticator.objects.latest("pk").pk)


def text_of(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_security_keys_are_listed_with_what_can_be_done(cast: Cast, otto: Client) -> None:
    blue = give_key(cast.otto, "Blue <b>key</b>")
    assert "Passkey" not in text_of(otto.get(KEYS))
    give_key(cast.otto, "Phone", is_passkey=True)

    page = text_of(otto.get(KEYS))

    assert page.count(">never<") == 2 and page.count(">Passkey<") == 1
    assert "Blue &lt;b&gt;key" in page and "<b>key" not in page
    assert f'href="{KEYS}keys/{blue}/edit/"' in page and f'href="{KEYS}keys/{blue}/remove/"' in page


def test_a_key_is_named_before_it_is_removed(cast: Cast, otto: Client) -> None:
    blue = give_key(cast.otto, "Blue key")

    assert "Blue key then opens nothing here" in text_of(otto.get(f"{KEYS}keys/{blue}/remove/"))
    assert Authenticator.objects.filter(pk=blue).exists()

    otto.post(f"{KEYS}keys/{blue}/remove/")
    assert not Authenticator.objects.filter(pk=blue).exists()


def test_recovery_codes_are_one_a_line(cast: Cast, otto: Client) -> None:
    give_key(cast.otto, "Blue key")
    codes = RecoveryCodes.activate(cast.otto).get_unused_codes()

    page = text_of(otto.get("/accounts/2fa/recovery-codes/"))

    assert f"readonly>{chr(10).join(codes)}</textarea>" in page
    assert 'href="/accounts/2fa/recovery-codes/download/"' in page


def test_the_link_of_a_mail_names_the_address_and_asks(cast: Cast, client: Client) -> None:
    fresh = EmailAddress.objects.create(user=cast.ada, email="fresh@example.org")
    path = f"/accounts/confirm-email/{EmailConfirmationHMAC(fresh).key}/"

    page = text_of(client.get(path))
    assert "Is fresh@example.org yours?" in page and f'action="{path}"' in page

    # Meanwhile somebody else has confirmed it.
    EmailAddress.objects.create(user=cast.ben, email="fresh@example.org", verified=True)
    page = text_of(client.get(path))
    assert "it belongs to another user" in page and "<form" not in page.partition("<main")[2]


@pytest.mark.parametrize("path", ["/accounts/confirm-email/unknown/", "/accounts/password/reset/key/done/"])
def test_where_nothing_is_left_to_do_there_is_a_way_to_sign_in(db: None, client: Client, path: str) -> None:
    page = text_of(client.get(path)).partition("<main")[2]

    assert 'class="btn btn-primary" href="/accounts/login/"' in page
