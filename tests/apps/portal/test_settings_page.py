"""The account's settings: what may be chosen, what is refused, whose they are."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.audit.models import AuditEvent
from apps.plans.models import RetentionChoice
from tests.cast import Cast
from tests.factories import give_plan

PAGE = "/portal/settings"
FORM = {"name": "Ada & Ben", "time_zone": "Europe/Berlin", "safety": "blur", "retention_days": ""}


def test_settings_are_saved_and_audited(ada: Client, cast: Cast) -> None:
    response = ada.post(PAGE, FORM)

    assert (response.status_code, response["Location"]) == (302, PAGE)
    cast.account.refresh_from_db()
    account = cast.account
    assert (account.name, account.time_zone, account.safety) == ("Ada & Ben", "Europe/Berlin", "blur")
    assert AuditEvent.objects.filter(name="accounts.account.changed", actor_label=cast.ada.email).count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
        {"safety": "whatever"},
        {"retention_days": "90"},
        {"retention_days": "-1"},
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    ada: Client, cast: Cast, wrong: dict[str, Any]
) -> None:
    response = ada.post(PAGE, FORM | wrong)

    assert response.status_code == 422
    assert 'aria-invalid="true"' in response.content.decode()
    cast.account.refresh_from_db()
    assert (cast.account.name, cast.account.safety) == ("Ada", "")
    assert not RetentionChoice.objects.exists()


def test_images_are_kept_as_long_as_the_plan_offers(ada: Client, cast: Cast) -> None:
    give_plan(cast.account, retention_days=[1, 30])

    ada.post(PAGE, FORM | {"retention_days": "30"})
    assert RetentionChoice.objects.get(account=cast.account).days == 30

    ada.post(PAGE, FORM)
    assert not RetentionChoice.objects.exists()


def test_they_are_this_accounts_alone(ada: Client, cast: Cast) -> None:
    ada.post(PAGE, FORM | {"account": cast.strangers_account.pk})

    cast.strangers_account.refresh_from_db()
    assert cast.strangers_account.name == "Cleo"
