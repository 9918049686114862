"""Closing an account, opening it again, and what is erased in the end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from apps.accounts import closing
from apps.accounts.errors import RoleNotYours
from apps.accounts.models import Account, Membership, User
from apps.audit.models import AuditEvent
from apps.audit.refs import Ref
from apps.mails.models import Mail
from tests.cast import Cast
from tests.clocks import FrozenClock

PASSWORD = "violet tractor umbrella 77"
heard: list[str] = []


def hear(*, account: Account, actor: Ref, now: datetime) -> None:
    """A hook for the tests."""
    heard.append(f"{account.slug} by {actor.label}")


def owner_client(cast: Cast) -> Client:
    cast.ada.set_password(PASSWORD)
    cast.ada.save()
    client = Client()
    client.force_login(cast.ada, backend="django.contrib.auth.backends.ModelBackend")
    return client


def close(client: Client, name: str = "Ada") -> Any:
    """Sends the form, and the password that is asked for before it takes effect."""
    answer = client.post("/portal/account/close", {"name": name})
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    return client.post(answer["Location"], {"password": PASSWORD})


def test_closing_wants_the_password_and_stops_keys_at_once(cast: Cast, client: Client, settings: Any) -> None:
    heard.clear()
    settings.ACCOUNT_CLOSED_HOOKS = ("tests.apps.accounts.test_closing.hear",)
    assert client.get("/v1/usage", headers={"Authorization": f"Bearer {cast.key_text}"}).status_code == 200
    ada = owner_client(cast)
    ada.post("/portal/account/close", {"name": "Ada"})
    cast.account.refresh_from_db()
    assert cast.account.closed_at is None
    close(ada)
    cast.account.refresh_from_db()
    assert (cast.account.is_active, cast.account.closed_at is not None) == (False, True)
    assert heard == ["ada by ada@example.com"]
    refused = client.get("/v1/usage", headers={"Authorization": f"Bearer {cast.key_text}"})
    assert refused.status_code in (401, 403)
    assert Mail.objects.get(template="account_closed").to == ["ada@example.com"]
    assert ada.get("/portal")["Location"] == "/portal/no-account"


def test_a_wrong_name_closes_nothing(cast: Cast) -> None:
    close(owner_client(cast), name="Cleo")
    cast.account.refresh_from_db()
    assert cast.account.closed_at is None


def test_closing_and_opening_does_not_undo_what_an_operator_switched_off(cast: Cast) -> None:
    Account.objects.filter(pk=cast.account.pk).update(is_active=False)
    ada = owner_client(cast)
    close(ada)
    ada.post("/portal/account/reopen", {"account": cast.account.pk})
    cast.account.refresh_from_db()
    assert (cast.account.closed_at, cast.account.is_active) == (None, False)


def test_a_closed_account_opens_again_for_its_owner_within_thirty_days(
    cast: Cast, clock: FrozenClock
) -> None:
    ada = owner_client(cast)
    close(ada)
    cleo = Client()
    cleo.force_login(cast.cleo, backend="django.contrib.auth.backends.ModelBackend")
    cleo.post("/portal/account/reopen", {"account": cast.account.pk})
    cast.account.refresh_from_db()
    assert cast.account.closed_at is not None
    clock.advance(days=29)
    assert "Open again" in ada.get("/portal/account").content.decode()
    assert ada.post("/portal/account/reopen", {"account": cast.account.pk})["Location"] == "/portal"
    cast.account.refresh_from_db()
    assert cast.account.is_active and not cast.account.closed_at


def test_after_thirty_days_names_and_addresses_are_gone(cast: Cast, clock: FrozenClock) -> None:
    ada = owner_client(cast)
    close(ada)
    clock.advance(days=30, seconds=-1)
    assert closing.erase_closed(now=clock.now()) == 0
    clock.advance(seconds=1)
    assert closing.erase_closed(now=clock.now()) == 1
    assert closing.erase_closed(now=clock.now()) == 0
    account = Account.objects.get(pk=cast.account.pk)
    assert (account.name, account.slug) == (f"closed-{account.pk}", f"closed-{account.pk}")
    assert not User.objects.filter(email__in=["ada@example.com", "ben@example.com"]).exists()
    erased = User.objects.get(pk=cast.ada.pk)
    assert (erased.is_active, erased.has_usable_password()) == (False, False)
    assert ada.get("/portal/account").status_code == 302
    with pytest.raises(RoleNotYours):
        closing.reopen_account(user=erased, account_id=account.pk, now=clock.now())
    assert AuditEvent.objects.filter(name="accounts.account.erased").count() == 1


def test_somebody_who_belongs_elsewhere_keeps_their_name(cast: Cast, clock: FrozenClock) -> None:
    Membership.objects.create(
        account=cast.strangers_account, user=cast.ben, role="viewer", created_at=clock.now()
    )
    close(owner_client(cast))
    clock.advance(days=31)
    closing.erase_closed(now=clock.now())
    assert User.objects.get(pk=cast.ben.pk).email == "ben@example.com"


def test_a_profile_is_changed_and_a_time_zone_that_is_none_refused(cast: Cast) -> None:
    ada = owner_client(cast)
    fields = {"name": "Ada L.", "language": "de", "time_zone": "Europe/Berlin"}
    answer = ada.post("/portal/account/profile", fields)
    assert answer.status_code == 302
    assert answer.cookies["django_language"].value == "de"
    refused = ada.post("/portal/account/profile", fields | {"time_zone": "Mars/Olympus"})
    assert refused.status_code == 400
    saved = User.objects.get(pk=cast.ada.pk)
    assert (saved.name, saved.language, saved.time_zone) == ("Ada L.", "de", "Europe/Berlin")


def test_a_further_account_is_ones_own(cast: Cast) -> None:
    ada = owner_client(cast)
    assert ada.post("/portal/account/new", {"name": "Second"})["Location"] == "/portal"
    owned = Membership.objects.filter(user=cast.ada, role="owner").values_list("account__name", flat=True)
    assert set(owned) == {"Ada", "Second"}
