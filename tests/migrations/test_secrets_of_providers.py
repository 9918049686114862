"""Secrets of sign-in providers, from rows in which they stood in plain text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from allauth.socialaccount.models import SocialApp
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.accounts.providers import secret_of

BEFORE = ("accounts", "0006_remember_removals_and_switched_off_accounts")
SEALED = ("accounts", "0007_seal_secrets_of_providers")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def up_to_date() -> Iterator[None]:
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def migrate(to: tuple[str, str]) -> None:
    MigrationExecutor(connection).migrate([to])


def test_secrets_are_sealed_and_opened_again(up_to_date: None) -> None:
    migrate(BEFORE)
    plain = {"settings": {"server_url": "https://id.example"}, "client_id": "c"}
    SocialApp.objects.create(
        provider="openid_connect", provider_id="a", name="A", secret="hush" * 40, **plain
    )
    SocialApp.objects.create(provider="saml", provider_id="b", name="B", **plain)
    migrate(SEALED)
    a, b = SocialApp.objects.order_by("name")
    assert (a.secret, b.secret) == ("", "") and "hush" not in str(a.settings)
    assert (secret_of(a), secret_of(b)) == ("hush" * 40, "")
    assert a.settings["server_url"] == "https://id.example" and b.settings == plain["settings"]
    migrate(BEFORE)
    a, b = SocialApp.objects.order_by("name")
    assert (a.secret, a.settings) == ("hush" * 40, plain["settings"])
