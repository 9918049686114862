"""The doors: start page, prices, language, changing the account, and pages for what went wrong."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.template.loader import render_to_string
from django.test import Client

from apps.accounts.models import Membership
from apps.accounts.sign_up_models import SignUpSettings
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.billing.prices.quoting import Rate
from apps.billing.prices.services import publish_book
from apps.plans.models import Plan
from tests.apps.portal.conftest import signed_in
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_plan


@pytest.fixture
def offered(cast: Cast) -> Plan:
    """A plan for forty-seven dollars that customers may choose."""
    plan = make_plan("standard", is_default=False, included_calls_per_month=10_000)
    plan.name, plan.price_micro, plan.is_public = "Standard", 47_000_000, True
    plan.save()
    return plan


def html_of(client: Client, path: str, **headers: str) -> str:
    response = client.get(path, headers=headers)
    assert response.status_code == 200, path
    return response.content.decode()


def test_the_start_page_tells_where_clients_point(client: Client, db: None) -> None:
    html = html_of(client, "/")

    for address in ("/api/v6", "/api/v7", "/openai/v1", "/sdapi/v1", "/v1"):
        assert f"<code>http://testserver{address}</code>" in html
    assert 'href="/console/"' in html


def test_with_self_service_the_start_page_leads_to_prices_and_signing_up(
    client: Client, offered: Plan
) -> None:
    html = html_of(client, "/")

    assert 'href="/pricing"' in html
    assert 'href="/portal/sign-up"' in html


@pytest.mark.parametrize("closed", [{"self_service": False}, {"invitation_only": True}])
def test_without_self_service_there_is_only_signing_in(
    client: Client, offered: Plan, closed: dict[str, bool]
) -> None:
    SignUpSettings.objects.create(pk=1, **closed)

    html = html_of(client, "/")

    assert 'href="/portal/sign-in"' in html
    assert "/pricing" not in html
    assert "/portal/sign-up" not in html
    assert client.get("/pricing").status_code == 404


def test_prices_come_from_the_plans(client: Client, offered: Plan) -> None:
    html = html_of(client, "/pricing")

    assert "Standard" in html
    assert "$47" in html
    assert "10,000 calls a month included" in html


def test_archived_and_private_plans_are_not_for_sale(client: Client, offered: Plan) -> None:
    make_plan("secret", is_default=False)

    assert "Secret" not in html_of(client, "/pricing")


def test_the_language_is_the_browsers_until_one_is_chosen(client: Client, offered: Plan) -> None:
    assert '<html lang="de"' in html_of(client, "/pricing", accept_language="de-AT,en;q=0.5")
    assert '<html lang="en"' in html_of(client, "/pricing", accept_language="fr,it")

    client.post("/language", {"language": "en", "next": "/pricing"})

    assert '<html lang="en"' in html_of(client, "/pricing", accept_language="de")


def test_an_unknown_language_changes_nothing(client: Client, db: None) -> None:
    response = client.post("/language", {"language": "tlh", "next": "/"})

    assert response.status_code == 302
    assert "django_language" not in response.cookies


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_the_choice_of_a_language_leads_nowhere_else(client: Client, db: None, elsewhere: str) -> None:
    assert client.post("/language", {"language": "de", "next": elsewhere})["Location"] == "/"


def test_the_api_speaks_english_whatever_the_browser_asks_for(client: Client, db: None) -> None:
    german = client.get("/v1/jobs", headers={"accept-language": "de"}).json()
    english = client.get("/v1/jobs").json()

    assert german["detail"] == english["detail"]


def test_amounts_are_written_as_the_language_does(client: Client, offered: Plan) -> None:
    Plan.objects.filter(pk=offered.pk).update(price_micro=1_234_500_000)

    assert "$1,234.50" in html_of(client, "/pricing")
    assert "$1.234,50" in html_of(client, "/pricing", accept_language="de")


def test_an_account_of_ones_own_can_be_looked_at_and_no_other(ada: Client, cast: Cast) -> None:
    response = ada.post("/portal/switch", {"account": cast.strangers_account.pk})

    assert response.status_code == 404
    event = AuditEvent.objects.get(name="portal.foreign_id")
    assert (event.actor_label, event.subject_id) == (cast.ada.email, str(cast.strangers_account.pk))


@pytest.mark.parametrize("account", ["", "x", "1.5", "9" * 40])
def test_an_account_that_is_none_is_not_found(ada: Client, account: str) -> None:
    assert ada.post("/portal/switch", {"account": account}).status_code == 404


def test_who_belongs_to_no_account_is_told(cast: Cast) -> None:
    Membership.objects.filter(user=cast.ada).delete()

    response = signed_in(cast.ada).get("/portal", follow=True)

    assert "You belong to no account yet" in response.content.decode()


def test_signing_out_is_a_form_and_ends_the_session(ada: Client) -> None:
    assert ada.get("/portal/sign-out").status_code == 405
    ada.post("/portal/sign-out")

    assert ada.get("/portal").status_code == 302


@pytest.mark.parametrize("theme", ["dark", "light", 'x" onload="alert(1)'])
def test_the_theme_is_what_was_chosen_or_the_systems(client: Client, db: None, theme: str) -> None:
    client.cookies["darkroom_theme"] = theme

    shown = re.search(r'data-theme="([^"]*)"', html_of(client, "/"))

    assert shown is not None
    assert shown[1] == (theme if theme in ("dark", "light") else "system")


def test_what_is_missing_is_said_in_the_portals_look(client: Client, db: None) -> None:
    response = client.get("/portal/nothing-here")

    assert response.status_code == 404
    assert "Nothing is at this address" in response.content.decode()


def test_a_fault_of_ours_is_told_without_the_database() -> None:
    html = render_to_string("500.html")

    assert "Something went wrong here" in html
    assert '<html lang="en" data-theme="system">' in html


def test_prices_stand_on_the_page_as_the_book_in_effect_has_them(
    client: Client, offered: Plan, clock: FrozenClock
) -> None:
    rates = {
        ("", ""): Rate(
            per_call_micro=0, per_image_micro=2_000, per_megapixel_micro=500, included_pixels=1_500_000
        ),
        ("upscale", "sharp"): Rate(per_call_micro=70_000, per_image_micro=0),
    }
    publish_book(rates=rates, effective_at=clock.now(), note="", actor=SYSTEM, now=clock.now())
    dear = {("", ""): Rate(per_image_micro=9_000_000)}
    later = clock.now() + timedelta(days=1)
    publish_book(rates=dear, effective_at=later, note="", actor=SYSTEM, now=clock.now())

    html = html_of(client, "/pricing")

    for words in ("Upscale", "sharp", "$0.07", "$0.002", "$0.0005", "1.50 megapixels", "all others"):
        assert words in html, words
    assert "$9" not in html
    clock.advance(days=1)
    assert "$9" in html_of(client, "/pricing")
