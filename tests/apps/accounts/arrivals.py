"""How people come in by their organisation's provider, as a browser does it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from allauth.socialaccount.models import SocialApp
from django.test import Client

from apps.accounts.providers import save_domain
from apps.accounts.sign_up_models import SignInDomain
from tests import oidc_provider, saml_idp
from tests.cast import Cast
from tests.clocks import FrozenClock


def agree(cast: Cast, clock: FrozenClock, app: SocialApp, **terms: Any) -> SignInDomain:
    domain = SignInDomain(domain="acme.example", provider=app, **terms)
    return save_domain(domain=domain, actor=cast.otto.ref, now=clock.now())


def way_on(page: Any) -> str:
    """Where the page leads that answers the click on a provider's button."""
    assert page.status_code == 200
    return str(page.context["address"])


def come_by_oidc(client: Client, provider: oidc_provider.OidcProvider) -> Any:
    address = way_on(client.post("/accounts/oidc/acme/login/"))
    assert address.startswith(provider.issuer)
    back = urlsplit(provider.authorize(address))
    return client.get(f"{back.path}?{back.query}")


def come_by_saml(client: Client, answer: str) -> Any:
    return client.post("/accounts/saml/acme-saml/acs/", {"SAMLResponse": answer}, follow=True)


def ask_saml(client: Client) -> str:
    address = way_on(client.post("/accounts/saml/acme-saml/login/"))
    assert address.startswith(saml_idp.SSO_URL)
    return address


def browser() -> Client:
    """One that says which host it asks, as all do but Django's."""
    return Client(headers={"host": "testserver"})


def is_in(client: Client) -> bool:
    return client.get("/portal/account").status_code == 200
