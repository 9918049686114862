"""Signing up through the pages: who gets in, what they get, and what strangers learn."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test import Client

from apps.accounts.models import Account, Membership, User
from apps.accounts.openings import approve, change_sign_up_settings, reject
from apps.accounts.sign_up_models import SignUpSettings
from apps.audit.models import AuditEvent
from apps.core.errors import Conflict
from apps.mails.models import Mail
from tests.cast import Cast
from tests.clocks import FrozenClock

PASSWORD = "violet tractor umbrella 77"
SIGN_UP = "/accounts/signup/"


def set_rules(cast: Cast, clock: FrozenClock, **rules: Any) -> None:
    change_sign_up_settings(changed=SignUpSettings(**rules), actor=cast.otto.ref, now=clock.now())


def sign_up(client: Client, email: str, **fields: str) -> Any:
    return client.post(SIGN_UP, {"email": email, "password1": PASSWORD} | fields)


def link_in(mail: Mail) -> str:
    """The path of the first link of a mail."""
    found = re.search(r"http://testserver(\S+)", mail.text)
    assert found, mail.text
    return found[1]


def confirm(client: Client, email: str) -> Any:
    mail = Mail.objects.get(to=[email])
    return client.post(link_in(mail))


def test_signing_up_opens_an_account_once_the_address_is_confirmed(cast: Cast, client: Client) -> None:
    answer = sign_up(client, "Dora@Example.org", account_name="Dora's <b>Studio</b>")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/confirm-email/")
    dora = User.objects.get(email="dora@example.org")
    membership = Membership.objects.select_related("account").get(user=dora)
    assert (membership.role, membership.account.name, membership.account.slug) == (
        "owner",
        "Dora's <b>Studio</b>",
        "doras-bstudiob",
    )
    assert client.get("/portal").status_code == 302
    assert confirm(client, "dora@example.org")["Location"] == "/portal"
    assert EmailAddress.objects.get(user=dora).verified
    assert client.get("/portal/account").status_code == 200
    client.post("/portal/sign-out")
    client.post("/accounts/login/", {"login": "DORA@example.org", "password": PASSWORD})
    page = client.get("/portal/account")
    assert page.status_code == 200
    assert "Dora&#x27;s &lt;b&gt;Studio" in page.content.decode()
    assert "<b>Studio" not in page.content.decode()
    names = set(AuditEvent.objects.filter(actor_label="dora@example.org").values_list("name", flat=True))
    assert names == {
        "accounts.user.signed_up",
        "accounts.account.opened",
        "accounts.user.email_confirmed",
        "accounts.user.signed_in",
    }


def test_opening_the_link_confirms_nothing(cast: Cast, client: Client) -> None:
    sign_up(client, "dora@example.org")
    link = link_in(Mail.objects.get(to=["dora@example.org"]))
    for scanner in (client, Client()):
        assert scanner.get(link).status_code == scanner.head(link).status_code == 200
    assert not EmailAddress.objects.get(email="dora@example.org").verified
    assert client.get("/portal/account").status_code == 302


def test_the_link_alone_signs_no_other_browser_in(cast: Cast, client: Client) -> None:
    sign_up(client, "dora@example.org")
    link = link_in(Mail.objects.get(to=["dora@example.org"]))
    other = Client()
    assert other.post(link)["Location"] == "/accounts/login/"
    assert EmailAddress.objects.get(email="dora@example.org").verified
    assert other.get("/portal/account").status_code == 302
    # Nor does it sign anybody in later.
    client.post(link)
    assert client.get("/portal/account").status_code == 302


def test_an_address_in_another_case_is_the_same_person(cast: Cast, client: Client) -> None:
    answer = sign_up(client, "ADA@example.com")
    assert answer["Location"] == "/accounts/confirm-email/"
    assert User.objects.filter(email__iexact="ada@example.com").count() == 1
    assert Account.objects.count() == 2
    [mail] = Mail.objects.all()
    assert mail.to == ["ada@example.com"] and mail.template == "plain"
    assert "http://testserver/accounts/password/reset/" in mail.text


def test_strangers_do_not_learn_who_has_an_account(cast: Cast, client: Client) -> None:
    known = sign_up(client, "ada@example.com")
    unknown = sign_up(Client(), "new@example.com")
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    reset = [
        Client().post("/accounts/password/reset/", {"email": email})
        for email in ("ada@example.com", "nobody@example.com")
    ]
    assert reset[0].status_code == reset[1].status_code == 302
    assert reset[0]["Location"] == reset[1]["Location"]


def test_links_in_mails_are_ours_whatever_host_a_request_claims(cast: Cast) -> None:
    sign_up(Client(headers={"host": "evil.example"}), "new@example.com")
    mail = Mail.objects.get(to=["new@example.com"])
    assert "evil.example" not in mail.text + mail.subject + mail.html
    assert "http://testserver/accounts/confirm-email/" in mail.text


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "at least 12 characters"),
        ("password1234", "too common"),
        ("newnewnewnewnew", "too easy to guess"),
    ],
)
def test_a_weak_password_is_refused_and_nothing_is_made(
    cast: Cast, client: Client, password: str, said: str
) -> None:
    answer = sign_up(client, "new@example.com", password1=password)
    assert answer.status_code == 200 and said in answer.content.decode()
    assert (User.objects.count(), Account.objects.count(), Mail.objects.count()) == (4, 2, 0)


@pytest.mark.parametrize("rules", [{"self_service": False}, {"invitation_only": True}])
def test_closed_sign_up_shows_no_form_and_takes_none(
    cast: Cast, client: Client, clock: FrozenClock, rules: dict[str, bool]
) -> None:
    set_rules(cast, clock, **rules)
    before = (User.objects.count(), Account.objects.count(), Mail.objects.count())
    assert "password1" not in client.get(SIGN_UP).content.decode()
    sign_up(client, "dora@example.org")
    client.force_login(cast.ada, backend="django.contrib.auth.backends.ModelBackend")
    client.post("/portal/account/new", {"name": "One more"})
    assert (User.objects.count(), Account.objects.count(), Mail.objects.count()) == before


def test_only_the_allowed_domains_sign_up(cast: Cast, client: Client, clock: FrozenClock) -> None:
    set_rules(cast, clock, allowed_domains="Example.ORG\nexample.net")
    answer = sign_up(client, "new@sub.example.org")
    assert "Addresses at sub.example.org cannot sign up here." in answer.content.decode()
    assert User.objects.count() == 4
    assert sign_up(client, "new@example.org").status_code == 302


def test_an_account_that_awaits_approval_cannot_be_used(
    cast: Cast, client: Client, clock: FrozenClock
) -> None:
    set_rules(cast, clock, approval_required=True)
    sign_up(client, "new@example.com", account_name="New")
    assert confirm(client, "new@example.com")["Location"] == "/portal/awaiting-approval"
    account = Account.objects.get(name="New")
    assert (account.awaits_approval, account.is_active) == (True, False)
    login = {"login": "new@example.com", "password": PASSWORD}
    assert client.post("/accounts/login/", login)["Location"] == "/portal/awaiting-approval"
    assert client.get("/portal/account").status_code == 302

    approve(account=account, actor=cast.otto.ref, now=clock.now())
    assert Mail.objects.get(template="account_approved").to == ["new@example.com"]
    assert client.post("/accounts/login/", login)["Location"] == "/portal"
    assert client.get("/portal/account").status_code == 200
    with pytest.raises(Conflict):
        reject(account=account, actor=cast.otto.ref, now=clock.now())


def test_a_rejected_account_stays_closed(cast: Cast, client: Client, clock: FrozenClock) -> None:
    set_rules(cast, clock, approval_required=True)
    sign_up(client, "new@example.com", account_name="New")
    account = Account.objects.get(name="New")
    reject(account=account, actor=cast.otto.ref, now=clock.now())
    account.refresh_from_db()
    assert (account.is_active, account.closed_at) == (False, clock.now())
    assert Mail.objects.filter(template="account_rejected").count() == 1


def test_a_changed_address_counts_once_it_is_proven(cast: Cast, client: Client) -> None:
    sign_up(client, "dora@example.org")
    confirm(client, "dora@example.org")
    client.post("/accounts/login/", {"login": "dora@example.org", "password": PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.post("/accounts/email/", {"action_add": "", "email": "Dora@example.net"})
    dora = User.objects.get(email="dora@example.org")
    client.post(link_in(Mail.objects.filter(to=["dora@example.net"]).latest("pk")))
    dora.refresh_from_db()
    assert dora.email == "dora@example.net"
    assert list(EmailAddress.objects.filter(user=dora).values_list("email", flat=True)) == [
        "dora@example.net"
    ]
    # Nobody changes to an address that is somebody else's.
    client.post("/accounts/email/", {"action_add": "", "email": "ADA@example.com"})
    assert User.objects.get(pk=dora.pk).email == "dora@example.net"
    assert User.objects.get(pk=cast.ada.pk).email == "ada@example.com"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_sign_up_at_once_with_one_address_one_gets_it(transactional_db: None) -> None:
    barrier = threading.Barrier(2)
    statuses: list[int] = []

    def attempt(email: str) -> None:
        barrier.wait()
        statuses.append(sign_up(Client(), email).status_code)
        connection.close()

    threads = [threading.Thread(target=attempt, args=(name,)) for name in ("Eve@x.org", "eve@X.org")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [302, 302]
    assert (User.objects.count(), Account.objects.count()) == (1, 1)


def test_operators_set_the_rules_invite_and_approve_in_the_console(
    cast: Cast, client: Client, clock: FrozenClock
) -> None:
    otto = Client()
    otto.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    assert otto.get("/console/accounts/signupsettings/").status_code == 200
    form = {
        "self_service": "on",
        "invitation_only": "on",
        "approval_required": "on",
        "allowed_domains": "no domain",
    }
    page = "/console/accounts/signupsettings/1/change/"
    refused = otto.post(page, form | {"allowed_domains": "ada@example.com"}, follow=True)
    assert "must be domains" in refused.content.decode()
    assert not SignUpSettings.objects.exists()
    assert otto.post(page, form | {"allowed_domains": ""}).status_code == 302
    assert AuditEvent.objects.latest("id").name == "accounts.sign_up_settings.changed"
    assert b"password1" not in client.get(SIGN_UP).content

    assert otto.post("/console/accounts/invitation/add/", {"email": "New@example.com"}).status_code == 302
    client.get(link_in(Mail.objects.get(template="invitation")))
    assert sign_up(client, "new@example.com", account_name="New")["Location"] == "/portal"
    # Whom an operator has invited, no operator needs to look at.
    account = Account.objects.get(name="New")
    assert account.is_active and not account.awaits_approval

    Account.objects.filter(pk=account.pk).update(is_active=False, awaits_approval=True)
    chosen = {"action": "approve", "_selected_action": [account.pk]}
    assert otto.post("/console/accounts/account/", chosen).status_code == 302
    account.refresh_from_db()
    assert account.is_active and AuditEvent.objects.latest("id").actor_label == "otto@example.com"
    otto.post("/console/accounts/account/", chosen)
    assert Mail.objects.filter(template="account_approved").count() == 1


def test_a_customer_does_not_get_into_the_console(cast: Cast, client: Client) -> None:
    client.force_login(cast.ada, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/console/accounts/signupsettings/1/change/").status_code == 302
