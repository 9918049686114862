"""How often somebody may try each of the ways in: from one address of the network, and at one user."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client

from apps.accounts.limits import RATES
from apps.mails.models import Mail
from tests.cast import OTTO_PASSWORD, Cast

LOGIN = "/accounts/login/"
RESET = "/accounts/password/reset/"
SIGN_UP = "/accounts/signup/"
PASSWORD = "violet tractor umbrella 77"
REFUSED = "Too many failed attempts"
HOUR_S = 3600


class Clock:
    """The time that attempts are counted by; it stands while a test tries."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch, db: None) -> Clock:
    clock = Clock()
    held = SimpleNamespace(time=clock.time, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr("allauth.core.internal.ratelimit.time", held)
    return clock


def at(number: int) -> Client:
    """A browser at an address of its own."""
    return Client(REMOTE_ADDR=f"192.0.2.{number}")


def guess(client: Client, login: str, password: str = "wrong") -> Any:
    return client.post(LOGIN, {"login": login, "password": password})


def test_passwords_of_one_user_are_tried_five_times_from_wherever(cast: Cast, attempts: Clock) -> None:
    for number in range(5):
        assert REFUSED not in guess(at(number), "Otto@example.com").content.decode()
    # The right one, from elsewhere, in another spelling: the same user.
    assert REFUSED in guess(at(77), "otto@EXAMPLE.com", OTTO_PASSWORD).content.decode()
    attempts.now += 301
    assert guess(at(77), "otto@example.com", OTTO_PASSWORD).status_code == 302


def test_one_address_guesses_at_ten_users_a_minute(cast: Cast, attempts: Clock) -> None:
    for number in range(10):
        assert REFUSED not in guess(at(1), f"user{number}@example.com").content.decode()
    assert REFUSED in guess(at(1), "otto@example.com", OTTO_PASSWORD).content.decode()
    assert guess(at(2), "otto@example.com", OTTO_PASSWORD).status_code == 302


def test_one_address_signs_twenty_up_a_minute(attempts: Clock) -> None:
    def sign_up(client: Client, number: int) -> int:
        fields = {"email": f"new{number}@example.org", "password1": "weak"}
        return client.post(SIGN_UP, fields).status_code

    assert [sign_up(at(1), number) for number in range(20)] == [200] * 20
    assert (sign_up(at(1), 20), sign_up(at(2), 21)) == (429, 200)
    attempts.now += 61
    assert sign_up(at(1), 22) == 200


@pytest.mark.parametrize("email", ["dora@example.org", "ada@example.com"])
def test_signing_up_again_and_again_sends_one_mail(cast: Cast, email: str) -> None:
    """To somebody who has an account as well: nobody is pestered by a form."""
    for number in range(5):
        at(number).post(SIGN_UP, {"email": email, "password1": PASSWORD})
    assert Mail.objects.filter(to=[email]).count() == 1


def test_a_mailbox_gets_five_links_for_a_new_password_an_hour(cast: Cast, attempts: Clock) -> None:
    def ask(number: int, email: str = "ada@example.com") -> int:
        return at(number).post(RESET, {"email": email}).status_code

    assert [ask(number) for number in range(5)] == [302] * 5
    assert (ask(6), ask(7, "ADA@example.com"), ask(7, "otto@example.com")) == (429, 429, 302)
    assert Mail.objects.filter(to=["ada@example.com"]).count() == 5
    attempts.now += HOUR_S + 1
    assert ask(8) == 302


@pytest.mark.parametrize("path", ["/accounts/reauthenticate/", "/accounts/password/change/"])
def test_a_stolen_session_does_not_guess_the_password(cast: Cast, path: str) -> None:
    client = at(1)
    guess(client, "otto@example.com", OTTO_PASSWORD)
    answers = [client.post(path, {"password": "w", "oldpassword": "w"}).status_code for _ in range(11)]
    assert answers[0] == 200 and answers[-1] == 429


def test_second_factors_are_tried_five_times_from_wherever(cast: Cast, attempts: Clock) -> None:
    codes = RecoveryCodes.activate(cast.otto).get_unused_codes()
    TOTP.activate(cast.otto, generate_totp_secret())

    def try_code(number: int, code: str) -> Any:
        client = at(number)
        assert guess(client, "otto@example.com", OTTO_PASSWORD)["Location"] == "/accounts/2fa/authenticate/"
        return client.post("/accounts/2fa/authenticate/", {"code": code})

    for number in range(5):
        assert REFUSED not in try_code(number, "000000").content.decode()
    assert REFUSED in try_code(9, codes[0]).content.decode()
    attempts.now += 301
    assert try_code(9, codes[0]).status_code == 302


@pytest.mark.parametrize(
    ("path", "method", "limit", "usual"),
    [
        ("/accounts/2fa/webauthn/login/", "post", 10, 302),
        ("/accounts/password/reset/key/1-no-such-key/", "post", 20, 200),
        ("/portal/join/no-such-letter", "get", 30, 410),
        ("/portal/join/no-such-letter", "post", 30, 410),
        ("/accounts/confirm-email/no-such-key/", "get", 30, 200),
        ("/accounts/confirm-email/no-such-key/", "post", 30, 404),
        ("/accounts/oidc/nobody/login/", "post", 8, 404),
        ("/accounts/oidc/nobody/login/callback/", "get", 8, 404),
        ("/accounts/saml/nobody/acs/finish/", "get", 8, 404),
        ("/accounts/saml/nobody/metadata/", "get", 8, 404),
    ],
)
def test_what_cannot_be_guessed_is_not_tried_without_end(
    monkeypatch: pytest.MonkeyPatch, path: str, method: str, limit: int, usual: int
) -> None:
    monkeypatch.setitem(RATES, "provider", "8/m/ip")

    def ask(number: int) -> int:
        send: Callable[..., Any] = getattr(at(number), method)
        return int(send(path).status_code)

    assert [ask(1) for _ in range(limit)] == [usual] * limit
    assert (ask(1), ask(2)) == (429, usual)


def test_beyond_a_limit_a_page_says_so() -> None:
    for _ in range(31):
        answer = at(1).get("/portal/join/no-such-letter")
    assert "Too many attempts" in answer.content.decode()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "is_refused"),
    [
        (0, "198.51.100.{n}", True),
        (1, "198.51.100.{n}", False),
        (1, "198.51.100.{n}, 203.0.113.5", True),
        (2, "198.51.100.{n}, 203.0.113.5", False),
        (2, "198.51.100.{n}, 203.0.113.5, 203.0.113.6", True),
    ],
)
def test_visitors_are_told_apart_by_what_our_own_proxies_say(
    settings: Any, proxies: int, forwarded: str, is_refused: bool
) -> None:
    """What stands before their part of the header is the visitor's own word."""
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    answers = [
        at(1).get("/portal/join/x", headers={"x-forwarded-for": forwarded.format(n=number)})
        for number in range(31)
    ]
    assert answers[-1].status_code == (429 if is_refused else 410)
