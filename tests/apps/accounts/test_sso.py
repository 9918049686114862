"""Sign-in through an organisation's provider: one that answers by HTTP, and how operators set one up."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.test import Client

from apps.accounts.models import Account, Membership, User
from apps.accounts.openings import change_sign_up_settings
from apps.accounts.providers import OidcFacts, parse_saml_metadata, save_provider, secret_of
from apps.accounts.sign_up_models import SignUpSettings
from apps.core.errors import Conflict, InvalidField
from apps.mails.models import Mail
from tests import oidc_provider, saml_idp
from tests.apps.accounts.arrivals import agree, come_by_oidc, is_in, way_on
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.saml_idp import SamlIdp

PASSWORD = "violet tractor umbrella 77"


def test_people_of_a_domain_become_members_with_its_role(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    agree(cast, clock, oidc, account=cast.account, default_role="viewer")
    client = Client()
    assert come_by_oidc(client, provider)["Location"] == "/portal"
    assert is_in(client)
    [membership] = Membership.objects.filter(user__email="dora@acme.example")
    assert (membership.account, membership.role) == (cast.account, "viewer")
    assert Account.objects.count() == 2
    assert not User.objects.get(email="dora@acme.example").has_usable_password()
    # The second time it is the same person.
    assert come_by_oidc(Client(), provider)["Location"] == "/portal"
    assert User.objects.filter(email__iexact="dora@acme.example").count() == 1


def test_somebody_who_is_here_already_is_the_same_person(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    User.objects.filter(pk=cast.ben.pk).update(email="ben@acme.example")
    agree(cast, clock, oidc)
    provider.claims = {"sub": "u2", "email": "Ben@Acme.example"}
    client = Client()
    come_by_oidc(client, provider)
    assert is_in(client)
    assert SocialAccount.objects.get().user == cast.ben


def test_whoever_signed_up_with_somebody_elses_address_is_locked_out_when_they_come(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    mallory = {"email": "dora@acme.example", "password1": PASSWORD, "account_name": "Trap"}
    Client().post("/accounts/signup/", mallory)
    assert User.objects.get(email="dora@acme.example").has_usable_password()
    agree(cast, clock, oidc, account=cast.account)
    client = Client()
    come_by_oidc(client, provider)
    assert is_in(client)
    dora = User.objects.get(email="dora@acme.example")
    assert not dora.has_usable_password()
    assert Membership.objects.filter(user=dora, account=cast.account).exists()
    trap = Client()
    trap.post("/accounts/login/", {"login": "dora@acme.example", "password": PASSWORD})
    assert not is_in(trap)


def test_a_removed_member_does_not_come_back_by_their_provider(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    agree(cast, clock, oidc, account=cast.account)
    come_by_oidc(Client(), provider)
    dora = User.objects.get(email="dora@acme.example")
    Membership.objects.create(
        account=cast.strangers_account, user=dora, role="viewer", created_at=clock.now()
    )
    Membership.objects.filter(user=dora, account=cast.account).delete()
    come_by_oidc(Client(), provider)
    assert not Membership.objects.filter(user=dora, account=cast.account).exists()


def test_no_provider_signs_an_operator_in(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    User.objects.filter(pk=cast.otto.pk).update(email="otto@acme.example")
    agree(cast, clock, oidc)
    provider.claims = {"sub": "u9", "email": "otto@acme.example", "email_verified": True}
    client = Client()
    come_by_oidc(client, provider)
    assert not is_in(client)
    assert client.get("/console/").status_code == 302


def test_a_provider_has_no_say_over_other_domains(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    agree(cast, clock, oidc)
    provider.claims = {"sub": "evil", "email": "ada@example.com", "email_verified": True}
    client = Client()
    come_by_oidc(client, provider)
    assert not is_in(client)
    assert not SocialAccount.objects.filter(user=cast.ada).exists()


def test_a_newcomer_of_another_domain_confirms_by_mail(
    cast: Cast, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    provider.claims = {"sub": "u3", "email": "eve@elsewhere.example", "email_verified": True}
    client = Client()
    assert come_by_oidc(client, provider)["Location"] == "/accounts/confirm-email/"
    assert not is_in(client)
    assert Mail.objects.get().to == ["eve@elsewhere.example"]
    assert Membership.objects.get(user__email="eve@elsewhere.example").role == "owner"


def test_closed_sign_up_holds_for_providers_too_but_for_their_own_domain(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    rules = SignUpSettings(self_service=False)
    change_sign_up_settings(changed=rules, actor=cast.otto.ref, now=clock.now())
    client = Client()
    come_by_oidc(client, provider)
    assert (is_in(client), User.objects.count()) == (False, 4)
    agree(cast, clock, oidc, account=cast.account)
    come_by_oidc(client, provider)
    assert is_in(client)


@pytest.mark.parametrize("lie", [{"aud": "somebody else"}, {"iss": "https://evil.example"}, {"exp": 1}])
def test_an_id_token_that_is_not_for_us_is_refused(
    cast: Cast,
    clock: FrozenClock,
    oidc: SocialApp,
    provider: oidc_provider.OidcProvider,
    lie: dict[str, Any],
) -> None:
    agree(cast, clock, oidc, account=cast.account)
    provider.token_claims = lie
    client = Client()
    come_by_oidc(client, provider)
    assert (is_in(client), User.objects.count()) == (False, 4)


def test_an_answer_nobody_asked_for_is_refused(
    cast: Cast, oidc: SocialApp, provider: oidc_provider.OidcProvider
) -> None:
    address = way_on(Client().post("/accounts/oidc/acme/login/"))
    back = urlsplit(provider.authorize(address))
    other = Client()
    other.get(f"{back.path}?{back.query}")
    assert (is_in(other), User.objects.count()) == (False, 4)


def test_passwords_are_refused_where_the_domain_has_its_own_sign_in(
    cast: Cast, clock: FrozenClock, oidc: SocialApp, provider: oidc_provider.OidcProvider, client: Client
) -> None:
    agree(cast, clock, oidc, is_enforced=True, account=cast.account)
    refused = client.post("/accounts/signup/", {"email": "new@acme.example", "password1": PASSWORD})
    assert "People at acme.example sign in with Acme." in refused.content.decode()
    come_by_oidc(client, provider)
    assert is_in(client)
    dora = User.objects.get(email="dora@acme.example")
    dora.set_password(PASSWORD)
    dora.save()
    second = Client()
    answer = second.post("/accounts/login/", {"login": dora.email, "password": PASSWORD}, follow=True)
    assert "People at acme.example sign in with Acme." in answer.content.decode()
    assert not is_in(second)


def test_operators_set_providers_up_in_the_console(cast: Cast, idp: SamlIdp) -> None:
    otto = Client()
    otto.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    form = {"kind": "saml", "name": "Acme", "slug": "acme-saml", "metadata": idp.metadata}
    assert otto.post("/console/socialaccount/socialapp/add/", form).status_code == 302
    app = SocialApp.objects.get()
    assert app.settings["idp"]["sso_url"] == saml_idp.SSO_URL
    page = otto.get(f"/console/socialaccount/socialapp/{app.pk}/change/").content.decode()
    assert "http://testserver/accounts/saml/acme-saml/acs/" in page
    oidc = {
        "kind": "openid_connect",
        "name": "Two",
        "slug": "two",
        "issuer": "https://id.example",
        "client_id": "c",
    }
    secret = oidc | {"client_secret": "hush-hush"}
    assert otto.post("/console/socialaccount/socialapp/add/", secret).status_code == 302
    two = SocialApp.objects.get(name="Two")
    change = f"/console/socialaccount/socialapp/{two.pk}/change/"
    page = otto.get(change).content.decode()
    assert "http://testserver/accounts/oidc/two/login/callback/" in page and "hush-hush" not in page
    assert "Now: set." in page
    otto.post(change, oidc | {"client_secret": "", "client_id": "changed"})
    two.refresh_from_db()
    assert (two.client_id, secret_of(two)) == ("changed", "hush-hush")
    assert "hush-hush" not in two.secret + str(two.settings)


def test_a_secret_that_does_not_open_shuts_that_one_door_alone(
    cast: Cast, oidc: SocialApp, provider: oidc_provider.OidcProvider, settings: Any
) -> None:
    settings.SECRET_KEY = "another key, as after a restore without the old one, long enough"
    client = Client()
    assert client.get("/accounts/login/").status_code == 200
    page = come_by_oidc(client, provider)
    assert page.status_code == 401 and not is_in(client)


def test_facts_of_a_provider_are_checked(cast: Cast, clock: FrozenClock, idp: SamlIdp) -> None:
    good = parse_saml_metadata(idp.metadata)

    def save(facts: Any) -> SocialApp:
        return save_provider(app=None, slug="x", name="X", facts=facts, actor=cast.otto.ref, now=clock.now())

    for text in ("", "<x/>", "<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]><x>&y;</x>"):
        with pytest.raises(InvalidField, match="metadata"):
            parse_saml_metadata(text)
    bad = [
        OidcFacts(issuer="http://id.example", client_id="c", client_secret="s"),
        OidcFacts(issuer="javascript:alert(1)", client_id="c", client_secret="s"),
        OidcFacts(issuer="https://id.example", client_id="c", client_secret=""),
        type(good)(entity_id="e", sso_url="https://id.example", certificate="none"),
        type(good)(entity_id="e", sso_url="ftp://id.example", certificate=good.certificate),
    ]
    for facts in bad:
        with pytest.raises(InvalidField):
            save(facts)
    assert SocialApp.objects.count() == 0
    save(good)
    with pytest.raises(Conflict, match="short name 'x'"):
        save(good)
