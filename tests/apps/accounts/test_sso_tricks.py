"""What somebody tries who wants more of a sign-in by provider than it is for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.test import Client

from apps.accounts import invitations, members
from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.accounts.openings import change_sign_up_settings
from apps.accounts.providers import OidcFacts, parse_saml_metadata, save_provider
from apps.accounts.sign_up_models import Removal, SignUpSettings
from apps.core.errors import Conflict, InvalidField
from apps.core.http_connections import PinnedBackend
from apps.mails.models import Mail
from tests.apps.accounts.arrivals import agree, come_by_oidc, is_in, way_on
from tests.apps.accounts.test_team import of, token_of
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan
from tests.oidc_provider import OidcProvider
from tests.saml_idp import SamlIdp

PASSWORD = "violet tractor umbrella 77"
ORIGINAL_CONNECT = PinnedBackend.connect_tcp


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def only_invited(cast: Cast, clock: FrozenClock) -> None:
    rules = SignUpSettings(invitation_only=True)
    change_sign_up_settings(changed=rules, actor=cast.otto.ref, now=clock.now())


@pytest.mark.parametrize("who", ["ada", "otto"])
def test_a_link_does_not_tie_a_strangers_identity_to_whoever_follows_it(
    cast: Cast, oidc: SocialApp, provider: OidcProvider, who: str
) -> None:
    victim = signed_in(getattr(cast, who))
    provider.claims = {"sub": "mallory", "email": "mallory@elsewhere.example"}
    address = way_on(victim.post("/accounts/oidc/acme/login/?process=connect"))
    back = urlsplit(provider.authorize(address))
    answer = victim.get(f"{back.path}?{back.query}", follow=True)
    assert answer.status_code == 200
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("path", ["/accounts/oidc/acme/login/", "/accounts/saml/acme-saml/login/"])
def test_a_foreign_page_begins_no_sign_in(
    cast: Cast, oidc: SocialApp, saml: SocialApp, provider: OidcProvider, path: str
) -> None:
    strict = Client(enforce_csrf_checks=True, headers={"host": "testserver"})
    asked = strict.get(f"{path}?process=login&next=/portal")
    assert asked.status_code == 200 and b"csrfmiddlewaretoken" in asked.content
    assert b'http-equiv="refresh"' not in asked.content
    assert strict.head(path).status_code == strict.options(path).status_code == 405
    assert strict.post(path).status_code == 403
    assert "socialaccount_states" not in strict.session
    token = asked.context["csrf_token"]
    page = strict.post(path, {"csrfmiddlewaretoken": str(token)})
    assert b'http-equiv="refresh"' in page.content and "socialaccount_states" in strict.session


def test_the_buttons_of_the_sign_in_page_send_a_token(cast: Cast, oidc: SocialApp) -> None:
    page = Client().get("/accounts/login/?next=/portal/keys").content.decode()
    [form] = re.findall(r'<form method="post" action="(/accounts/oidc/acme[^"]*)">(.*?)</form>', page)
    assert "next=%2Fportal%2Fkeys" in form[0] and "csrfmiddlewaretoken" in form[1]


def test_no_page_offers_to_tie_one(cast: Cast, oidc: SocialApp) -> None:
    answer = signed_in(cast.ada).get("/accounts/3rdparty/")
    assert answer.status_code == 200 and "process=connect" not in answer.content.decode()


def test_a_removed_member_without_another_account_stays_out_until_invited(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: OidcProvider
) -> None:
    agree(cast, clock, oidc, account=cast.account)
    come_by_oidc(Client(), provider)
    dora = User.objects.get(email="dora@acme.example")
    ada = of(cast, cast.ada)
    members.remove_member(by=ada, member_id=of(cast, dora).pk, now=clock.now())
    come_by_oidc(Client(), provider)
    assert not Membership.objects.filter(user=dora).exists()
    invitations.invite(by=ada, email=dora.email, role=Role.VIEWER, now=clock.now())
    token = token_of(Mail.objects.get(template="invitation"))
    invitations.accept(token=token, user=dora, now=clock.now())
    assert Membership.objects.get(user=dora).role == Role.VIEWER
    assert not Removal.objects.exists()


def test_a_letter_to_somebody_else_opens_no_door(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: OidcProvider
) -> None:
    only_invited(cast, clock)
    invitations.invite_customer(email="guest@elsewhere.example", by=cast.otto, now=clock.now())
    client = Client()
    client.get(f"/portal/join/{token_of(Mail.objects.get())}")
    provider.claims = {"sub": "mallory", "email": "mallory@elsewhere.example"}
    come_by_oidc(client, provider)
    assert User.objects.count() == 4
    provider.claims = {"sub": "guest", "email": "Guest@elsewhere.example"}
    come_by_oidc(client, provider)
    assert User.objects.filter(email="guest@elsewhere.example").exists()


def test_people_of_a_closed_account_open_none_by_its_agreement(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: OidcProvider
) -> None:
    agree(cast, clock, oidc, account=cast.account)
    only_invited(cast, clock)
    Account.objects.filter(pk=cast.account.pk).update(is_active=False, closed_at=clock.now())
    come_by_oidc(Client(), provider)
    assert (User.objects.count(), Account.objects.count()) == (4, 2)


def test_full_seats_are_said_in_words(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: OidcProvider
) -> None:
    give_plan(cast.account, seats=2)
    agree(cast, clock, oidc, account=cast.account)
    client = Client()
    assert come_by_oidc(client, provider)["Location"] == "/accounts/login/"
    assert "All 2 seats" in client.get("/accounts/login/").content.decode()
    assert not User.objects.filter(email="dora@acme.example").exists()


def test_full_seats_do_not_lock_out_who_is_here_already(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: OidcProvider
) -> None:
    User.objects.filter(pk=cast.cleo.pk).update(email="dora@acme.example")
    give_plan(cast.account, seats=2)
    agree(cast, clock, oidc, account=cast.account)
    client = Client()
    come_by_oidc(client, provider)
    assert is_in(client)
    assert Membership.objects.get(user=cast.cleo).account == cast.strangers_account


def test_full_seats_are_said_to_who_signs_up_with_a_letter(cast: Cast, clock: FrozenClock) -> None:
    invitations.invite(by=of(cast, cast.ada), email="dora@example.com", role=Role.VIEWER, now=clock.now())
    give_plan(cast.account, seats=2)
    guest = Client()
    guest.get(f"/portal/join/{token_of(Mail.objects.get())}")
    form = {"email": "dora@example.com", "password1": PASSWORD}
    answer = guest.post("/accounts/signup/", form, follow=True)
    assert answer.status_code == 200 and "All 2 seats" in answer.content.decode()
    assert not User.objects.filter(email="dora@example.com").exists()


def test_the_way_out_of_an_enforced_sign_in_by_another_address_is_shut(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: OidcProvider
) -> None:
    agree(cast, clock, oidc, account=cast.account, is_enforced=True)
    client = Client()
    come_by_oidc(client, provider)
    answer = client.post("/accounts/email/", {"action_add": "", "email": "dora@elsewhere.example"})
    assert "keep an address of that domain" in answer.content.decode()
    # Whoever has got away with it is still known by their provider.
    dora = User.objects.get(email="dora@acme.example")
    dora.email = "dora@elsewhere.example"
    dora.set_password(PASSWORD)
    dora.save()
    EmailAddress.objects.filter(user=dora).update(email=dora.email)
    other = Client()
    other.post("/accounts/login/", {"login": dora.email, "password": PASSWORD})
    assert not is_in(other)
    again = Client()
    come_by_oidc(again, provider)
    assert is_in(again)


def test_no_provider_takes_the_name_of_another(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, idp: SamlIdp
) -> None:
    good = parse_saml_metadata(idp.metadata)

    def save(slug: str, facts: Any) -> SocialApp:
        return save_provider(app=None, slug=slug, name="X", facts=facts, actor=cast.otto.ref, now=clock.now())

    own = OidcFacts(issuer="https://id.example", client_id="c", client_secret="s")
    for slug, facts in (("x", replace(good, entity_id="acme")), ("acme", good), ("acme", own)):
        with pytest.raises(Conflict):
            save(slug, facts)
    for slug, facts in (("saml", good), ("openid_connect", own), ("x", replace(good, entity_id="saml"))):
        with pytest.raises(InvalidField):
            save(slug, facts)
    assert SocialApp.objects.count() == 1
    save("x", good)
    with pytest.raises(Conflict):
        save("y", good)


@pytest.mark.parametrize("endpoint", ["token_endpoint", "userinfo_endpoint"])
@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "https://10.0.0.7/", "http://public.example/"]
)
def test_a_discovery_document_does_not_steer_our_requests_inwards(
    cast: Cast,
    clock: FrozenClock,
    oidc: SocialApp,
    provider: OidcProvider,
    endpoint: str,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agree(cast, clock, oidc, account=cast.account)
    opened: list[int] = []

    def connect(self: PinnedBackend, host: str, port: int, *args: Any, **options: Any) -> Any:
        stream = ORIGINAL_CONNECT(self, host, port, *args, **options)
        opened.append(port)
        return stream

    monkeypatch.setattr(PinnedBackend, "connect_tcp", connect)
    provider.discovery = {endpoint: target}
    client = Client()
    come_by_oidc(client, provider)
    assert opened and set(opened) == {provider.server_address[1]}
    assert not is_in(client)
