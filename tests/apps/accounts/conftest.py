"""Providers of sign-ins: one that answers by HTTP, and one that signs XML."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from allauth.socialaccount.models import SocialApp

from apps.accounts.providers import OidcFacts, parse_saml_metadata, save_provider
from tests import oidc_provider
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.saml_idp import SamlIdp


@pytest.fixture
def provider() -> Iterator[oidc_provider.OidcProvider]:
    with oidc_provider.running() as listening:
        yield listening


@pytest.fixture
def oidc(cast: Cast, clock: FrozenClock, provider: oidc_provider.OidcProvider) -> SocialApp:
    facts = OidcFacts(
        issuer=provider.issuer,
        client_id=oidc_provider.CLIENT_ID,
        client_secret=oidc_provider.CLIENT_SECRET,
    )
    return save_provider(
        app=None, slug="acme", name="Acme", facts=facts, actor=cast.otto.ref, now=clock.now()
    )


@pytest.fixture
def idp() -> SamlIdp:
    return SamlIdp()


@pytest.fixture
def saml(cast: Cast, clock: FrozenClock, idp: SamlIdp) -> SocialApp:
    facts = parse_saml_metadata(idp.metadata)
    return save_provider(
        app=None, slug="acme-saml", name="Acme", facts=facts, actor=cast.otto.ref, now=clock.now()
    )
