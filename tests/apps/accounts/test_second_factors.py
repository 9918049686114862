"""Second factors through the pages: codes, recovery codes, security keys; and what the console wants."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client

from apps.accounts.openings import change_sign_up_settings
from apps.accounts.sign_up_models import SignUpSettings
from apps.audit.models import AuditEvent
from apps.mails.models import Mail
from tests.cast import OTTO_PASSWORD, Cast
from tests.clocks import FrozenClock
from tests.soft_key import SoftKey

LOGIN = "/accounts/login/"


class Seconds:
    """The time that codes are counted by."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def time(self) -> float:
        return self.now

    def next_code(self) -> None:
        self.now += 30


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    held = Seconds()
    monkeypatch.setattr("allauth.mfa.totp.internal.auth.time", SimpleNamespace(time=held.time))
    return held


@pytest.fixture
def otto(cast: Cast) -> Client:
    """Otto's browser: signed in, and asked for his password a moment ago."""
    client = Client()
    sign_in(client)
    client.post("/accounts/reauthenticate/", {"password": OTTO_PASSWORD})
    return client


def sign_in(client: Client) -> Any:
    return client.post(LOGIN, {"login": "otto@example.com", "password": OTTO_PASSWORD})


def code_of(secret: str, seconds: Seconds) -> str:
    return str(format_hotp_value(hotp_value(secret, int(seconds.now) // 30)))


def activate(otto: Client, seconds: Seconds) -> str:
    """Set an authenticator app up; returns its secret."""
    page = otto.get("/accounts/2fa/totp/activate/").content.decode()
    found = re.search(r'id="authenticator_secret" value="([A-Z2-7]+)"', page)
    assert found, page
    answer = otto.post("/accounts/2fa/totp/activate/", {"code": code_of(found[1], seconds)})
    assert answer.status_code == 302
    seconds.next_code()
    return found[1]


def options_on(page: Any, name: str) -> dict[str, Any]:
    found = re.search(r'<script id="js_data" type="application/json">(.*?)</script>', page.content.decode())
    assert found
    return dict(json.loads(found[1])[name])


def add_key(otto: Client, key: SoftKey, *, passwordless: bool = False) -> Any:
    page = otto.get("/accounts/2fa/webauthn/add/")
    credential = key.register(options_on(page, "creation_options"))
    fields = {"name": "Blue key", "credential": credential}
    return otto.post("/accounts/2fa/webauthn/add/", fields | ({"passwordless": "on"} if passwordless else {}))


def test_setting_a_factor_up_wants_the_password_first(cast: Cast) -> None:
    client = Client()
    sign_in(client)
    answer = client.get("/accounts/2fa/totp/activate/")
    assert answer["Location"].startswith("/accounts/reauthenticate/")


def test_a_code_is_asked_for_and_works_once(
    otto: Client, seconds: Seconds, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        secret = activate(otto, seconds)
    assert Mail.objects.filter(subject__icontains="Authenticator app activated").count() == 1
    client = Client()
    assert sign_in(client)["Location"] == "/accounts/2fa/authenticate/"
    assert client.get("/portal/account").status_code == 302
    assert client.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    code = code_of(secret, seconds)
    assert client.post("/accounts/2fa/authenticate/", {"code": code})["Location"] == "/portal"
    assert client.get("/portal/account").status_code == 200
    second = Client()
    sign_in(second)
    assert (
        "The code is not right" in second.post("/accounts/2fa/authenticate/", {"code": code}).content.decode()
    )


def test_secrets_are_not_in_the_database(otto: Client, seconds: Seconds) -> None:
    secret = activate(otto, seconds)
    assert secret not in str(list(Authenticator.objects.values("data")))


def test_a_recovery_code_works_once(otto: Client, seconds: Seconds) -> None:
    activate(otto, seconds)
    codes = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
    assert len(codes) == 10
    client = Client()
    sign_in(client)
    assert client.post("/accounts/2fa/authenticate/", {"code": codes[0]})["Location"] == "/portal"
    second = Client()
    sign_in(second)
    assert second.post("/accounts/2fa/authenticate/", {"code": codes[0]}).status_code == 200


def test_codes_that_another_secret_key_has_sealed_are_told_of_and_open_nothing(
    otto: Client, seconds: Seconds, settings: Any
) -> None:
    secret = activate(otto, seconds)
    settings.SECRET_KEY = "another"
    client = Client()
    sign_in(client)
    answer = client.post("/accounts/2fa/authenticate/", {"code": code_of(secret, seconds)}, follow=True)
    assert "Your codes cannot be read any more" in answer.content.decode()
    assert client.get("/portal/account").status_code == 302


def test_factors_that_come_and_go_are_in_the_audit_log(
    cast: Cast, otto: Client, seconds: Seconds, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        activate(otto, seconds)
        add_key(otto, SoftKey())
        otto.post("/accounts/2fa/recovery-codes/generate/")
        otto.post(f"/accounts/2fa/webauthn/keys/{Authenticator.objects.get(type='webauthn').pk}/remove/")
        otto.post("/accounts/2fa/totp/deactivate/")
    named = AuditEvent.objects.filter(name__startswith="accounts.second_factor.", actor_id=cast.otto.pk)
    assert {event.name.rpartition(".")[2] for event in named} == {
        "totp_activated",
        "webauthn_added",
        "recovery_codes_generated",
        "webauthn_removed",
        "totp_deactivated",
    }


def test_a_security_key_is_the_second_factor(otto: Client) -> None:
    key = SoftKey()
    assert add_key(otto, key).status_code == 302
    client = Client()
    assert sign_in(client)["Location"] == "/accounts/2fa/authenticate/"
    page = client.get("/accounts/2fa/authenticate/")
    stranger = SoftKey().sign(options_on(page, "request_options"))
    assert client.post("/accounts/2fa/authenticate/", {"credential": stranger}).status_code == 200
    page = client.get("/accounts/2fa/authenticate/")
    answer = client.post(
        "/accounts/2fa/authenticate/", {"credential": key.sign(options_on(page, "request_options"))}
    )
    assert answer["Location"] == "/portal"


def test_a_key_of_another_site_is_refused(otto: Client) -> None:
    assert add_key(otto, SoftKey(rp_id="evil.example")).status_code == 200
    assert not Authenticator.objects.filter(type="webauthn").exists()


def test_a_passkey_signs_in_alone(otto: Client) -> None:
    key = SoftKey()
    add_key(otto, key, passwordless=True)
    client = Client()
    options = client.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"}).json()
    answer = client.post(
        "/accounts/2fa/webauthn/login/", {"credential": key.sign(options["request_options"])}
    )
    assert answer["Location"] == "/portal"


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/login/",
        "/accounts/signup/",
        "/accounts/password/reset/",
        "/accounts/2fa/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/2fa/totp/activate/",
        "/accounts/sessions/",
        "/accounts/email/",
        "/accounts/password/change/",
        "/accounts/3rdparty/",
        "/accounts/logout/",
        "/portal/account",
    ],
)
def test_pages_run_nothing_inline(cast: Cast, otto: Client, path: str) -> None:
    is_entrance = path in ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/")
    answer = (Client() if is_entrance else otto).get(path)
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "portal/portal.css" in page
    assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", page)
    scripts = re.findall(r"<script([^>]*)>", page)
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)
    assert "script-src 'self'" in answer["Content-Security-Policy"]


def test_the_console_lets_nobody_past_their_own_factor(otto: Client, seconds: Seconds) -> None:
    activate(otto, seconds)
    form = {"username": "otto@example.com", "password": OTTO_PASSWORD}
    right = Client().post("/console/login/", form)
    wrong = Client().post("/console/login/", form | {"password": "something else"})
    assert (right.status_code, wrong.status_code) == (200, 200)
    # The page does not tell that the password was right.
    pages = [each.content.decode() for each in (right, wrong)]
    said = [re.findall(r'<p class="errornote">(.+?)</p>', page, re.DOTALL) for page in pages]
    assert said[0] == said[1] and "second factor sign in at /accounts/login/" in said[0][0]


def test_the_console_counts_failed_attempts_as_the_portal_does(cast: Cast) -> None:
    wrong = {"username": cast.otto.email, "password": "something else"}
    for _ in range(5):
        Client().post("/console/login/", wrong)
    browser = Client()
    answer = browser.post("/console/login/", wrong | {"password": OTTO_PASSWORD})
    assert answer.status_code == 200 and "Too many failed attempts" in answer.content.decode()
    elsewhere = {"login": cast.otto.email, "password": OTTO_PASSWORD}
    assert Client().post("/accounts/login/", elsewhere).status_code == 200


def test_who_gets_into_the_console_has_not_failed(cast: Cast) -> None:
    form = {"username": cast.otto.email, "password": OTTO_PASSWORD, "next": "/console/"}
    assert [Client().post("/console/login/", form).status_code for _ in range(7)] == [302] * 7


def test_the_console_may_want_a_factor_of_everybody(
    cast: Cast, otto: Client, seconds: Seconds, clock: FrozenClock
) -> None:
    assert otto.get("/console/").status_code == 200
    rules = SignUpSettings(operators_need_second_factor=True)
    change_sign_up_settings(changed=rules, actor=cast.otto.ref, now=clock.now())
    assert otto.get("/console/", follow=True).redirect_chain[-1][0] == "/accounts/2fa/"
    secret = activate(otto, seconds)
    chain = otto.get("/console/", follow=True).redirect_chain
    assert chain[-1][0].startswith("/accounts/2fa/reauthenticate/")
    otto.post("/accounts/2fa/reauthenticate/", {"code": code_of(secret, seconds)})
    assert otto.get("/console/").status_code == 200
