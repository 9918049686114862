"""Sign-in through a provider that signs XML."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from allauth.socialaccount.models import SocialApp

from apps.accounts.models import Membership, User
from tests.apps.accounts.arrivals import agree, ask_saml, browser, come_by_saml, is_in
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.saml_idp import SamlIdp


def test_a_signed_assertion_signs_in(cast: Cast, clock: FrozenClock, saml: SocialApp, idp: SamlIdp) -> None:
    agree(cast, clock, saml, account=cast.account, default_role="developer")
    client = browser()
    come_by_saml(client, idp.answer(ask_saml(client)))
    assert is_in(client)
    assert Membership.objects.get(user__email="dora@acme.example").role == "developer"


def _tampered(answer: str) -> str:
    xml = base64.b64decode(answer).replace(b"dora@acme.example", b"ceo@acme.example")
    return base64.b64encode(xml).decode()


@pytest.mark.parametrize("wrong", ["tampered", "unsigned", "another key", "audience", "expired", "early"])
def test_an_assertion_with_something_wrong_signs_nobody_in(
    cast: Cast, clock: FrozenClock, saml: SocialApp, idp: SamlIdp, wrong: str
) -> None:
    agree(cast, clock, saml, account=cast.account)
    client = browser()
    address = ask_saml(client)
    answers = {
        "tampered": lambda: _tampered(idp.answer(address)),
        "unsigned": lambda: idp.answer(address, signed=False),
        "another key": lambda: SamlIdp().answer(address),
        "audience": lambda: idp.answer(address, audience="https://another.example/metadata"),
        "expired": lambda: idp.answer(address, age=timedelta(hours=1)),
        "early": lambda: idp.answer(address, age=-timedelta(hours=1)),
    }
    page = come_by_saml(client, answers[wrong]())
    assert (is_in(client), User.objects.count()) == (False, 4)
    assert page.status_code == 401 or b"Login Failure" in page.content


def test_an_assertion_works_once_and_for_the_browser_that_asked(
    cast: Cast, clock: FrozenClock, saml: SocialApp, idp: SamlIdp
) -> None:
    agree(cast, clock, saml, account=cast.account)
    client = browser()
    answer = idp.answer(ask_saml(client))
    come_by_saml(client, answer)
    assert is_in(client)
    client.post("/portal/sign-out")
    for other in (client, browser()):
        come_by_saml(other, answer)
        assert not is_in(other)


def test_our_metadata_is_what_the_provider_needs(saml: SocialApp) -> None:
    answer = browser().get("/accounts/saml/acme-saml/metadata/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert 'entityID="http://testserver/accounts/saml/acme-saml/metadata/"' in text
    assert "http://testserver/accounts/saml/acme-saml/acs/" in text and 'WantAssertionsSigned="true"' in text
