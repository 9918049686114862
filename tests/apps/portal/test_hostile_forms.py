"""Forms and addresses that no page of ours makes, and members of an account that was switched off."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.accounts.models import Account, Membership
from apps.accounts.openings import OWNED_AT_MOST
from apps.accounts.services import change_account
from apps.apikeys.errors import ApiKeyInvalid
from apps.apikeys.models import ApiKey
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.services import submit_generation
from tests.cast import Cast
from tests.clocks import FrozenClock

LONG = "9" * 5000
SETTINGS = {"name": "Renamed", "time_zone": "UTC", "safety": "", "retention_days": ""}


@pytest.mark.parametrize("number", ["9" * 20, "9" * 65, LONG, "٣", "-1", ""])
def test_a_number_that_is_none_of_an_account_names_no_account(ada: Client, number: str) -> None:
    for path in ("/portal/switch", "/portal/account/leave", "/portal/account/reopen"):
        assert ada.post(path, {"account": number}).status_code == 404, path


@pytest.mark.parametrize(
    "next_page", ["foo", "billing", "portal:nothing", "//evil.example", "/\\evil.example"]
)
def test_the_language_leads_to_a_path_here_or_to_the_start(client: Client, db: None, next_page: str) -> None:
    answer = client.post("/language", {"language": "de", "next": next_page})
    assert (answer.status_code, answer["Location"]) == (302, "/")


@pytest.mark.parametrize("number", [LONG, "9" * 20, "³"])
def test_numbers_beyond_counting_are_refused_in_words(ada: Client, number: str) -> None:
    assert ada.get("/portal/billing/statement", {"before": number}).status_code == 400
    for path in ("/portal/billing/cancel", "/portal/billing/keep"):
        answer = ada.post(path, {"revision": number}, follow=True)
        assert "open the page anew" in answer.content.decode(), path
    answer = ada.post("/portal/billing/budgets", {"key": number, "limit": "5"}, follow=True)
    assert "one of the account&#x27;s keys" in answer.content.decode()


def test_no_visit_is_named_by_what_no_database_holds(ada: Client) -> None:
    assert ada.get("/portal/billing/return/a%00b").status_code == 404


def test_of_an_account_that_is_switched_off_things_can_be_read_and_not_done(ada: Client, cast: Cast) -> None:
    Account.objects.filter(pk=cast.account.pk).update(is_active=False)
    assert ada.get("/portal").status_code == 200
    answer = ada.post("/portal/settings", SETTINGS, follow=True)
    assert "is switched off" in answer.content.decode()
    cast.account.refresh_from_db()
    assert (cast.account.name, cast.account.is_active) == ("Ada", False)
    ada.post("/portal/team/invite", {"email": "dora@example.com", "role": "viewer"}, follow=True)
    assert not cast.account.invitations.exists()
    # What is owed can be settled: this form has reached the page behind it.
    answer = ada.post("/portal/billing/cancel", {"revision": "none"}, follow=True)
    assert "open the page anew" in answer.content.decode()


def test_nothing_is_generated_for_an_account_that_is_switched_off(cast: Cast, clock: FrozenClock) -> None:
    cast.account.is_active = False
    cast.account.save()
    with pytest.raises(ApiKeyInvalid):
        submit_generation(
            account=cast.account,
            api_key=ApiKey.objects.get(pk=cast.key.pk),
            request=GenerationRequest(prompt="a fox", checkpoint="any"),
            client_options={},
            track_id=None,
            now=clock.now(),
        )
    assert not GenerationJob.objects.exists()


def test_saving_settings_does_not_move_the_switch_of_the_operator(
    ada: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator switches the account off after the page has read it, and before it is saved."""

    def late(**arguments: object) -> Account:
        Account.objects.filter(pk=cast.account.pk).update(is_active=False)
        return change_account(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("apps.portal.preferences.views.change_account", late)
    ada.post("/portal/settings", SETTINGS)
    cast.account.refresh_from_db()
    assert (cast.account.name, cast.account.is_active) == ("Renamed", False)


@pytest.mark.parametrize("name", ["See https://evil.example", "WWW.evil.example", "Ada\nClick here"])
def test_a_name_is_no_letter_of_its_own(ada: Client, cast: Cast, name: str) -> None:
    ada.post("/portal/settings", SETTINGS | {"name": name})
    ada.post("/portal/account/new", {"name": name})
    cast.account.refresh_from_db()
    assert "evil" not in cast.account.name and "\n" not in cast.account.name
    assert not Account.objects.filter(name__contains="evil").exists()


def test_one_opens_so_many_accounts_and_with_two_clicks_one(ada: Client, cast: Cast) -> None:
    for name in ("Second", "Second", "Third", "Fourth", "Fifth"):
        ada.post("/portal/account/new", {"name": name})
    owned = Membership.objects.filter(user=cast.ada, role="owner").values_list("account__name", flat=True)
    assert sorted(owned) == ["Ada", "Second", "Third"] and len(owned) == OWNED_AT_MOST
    # Closing one makes no room.
    Account.objects.filter(name="Third").update(is_active=False, closed_at=cast.account.created_at)
    ada.post("/portal/account/new", {"name": "Fourth"})
    assert not Account.objects.filter(name="Fourth").exists()
