"""Where our own requests to sign-in providers go, and what of their answers is taken."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from allauth.socialaccount.models import SocialApp

from apps.accounts import provider_requests
from apps.accounts.provider_requests import ProviderSession
from tests.oidc_provider import OidcProvider


def answers_in_turn(*answers: str) -> tuple[Any, list[str]]:
    """A resolver that says something else each time, and the list of what it was asked."""
    left: Iterator[str] = iter(answers)
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return [next(left)]

    return resolve, asked


@pytest.fixture
def connected_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that a connection was tried to; none gets anywhere."""
    tried: list[str] = []

    def create_connection(address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        tried.append(address[0])
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "create_connection", create_connection)
    return tried


def test_a_name_cannot_point_elsewhere_between_the_check_and_the_connection(
    db: None, connected_to: list[str]
) -> None:
    resolve, asked = answers_in_turn("93.184.216.34", "10.0.0.7", "10.0.0.7")
    with pytest.raises(requests.RequestException, match="cannot be asked"):
        ProviderSession(resolve=resolve).get("https://rebinding.example/keys")
    assert (asked, connected_to) == (["rebinding.example"], ["93.184.216.34"])


@pytest.mark.parametrize("address", ["10.0.0.7", "169.254.169.254", "::1", "127.0.0.1"])
def test_a_name_of_the_inside_is_not_connected_to(db: None, connected_to: list[str], address: str) -> None:
    resolve, _ = answers_in_turn(address)
    with pytest.raises(requests.exceptions.InvalidURL, match="private network"):
        ProviderSession(resolve=resolve).get("https://inside.example/keys")
    assert connected_to == []


def test_the_operators_own_provider_may_be_inside(db: None, connected_to: list[str]) -> None:
    SocialApp.objects.create(
        provider="openid_connect",
        provider_id="in",
        name="In",
        client_id="c",
        settings={"server_url": "https://id.corp.example:8443/realm"},
    )
    resolve, _ = answers_in_turn("10.0.0.7", "10.0.0.7")
    with pytest.raises(requests.exceptions.ConnectionError):
        ProviderSession(resolve=resolve).get("https://id.corp.example:8443/keys")
    assert connected_to == ["10.0.0.7"]
    # Another port of the same host is another service.
    with pytest.raises(requests.exceptions.InvalidURL):
        ProviderSession(resolve=resolve).get("https://id.corp.example:9200/keys")
    assert connected_to == ["10.0.0.7"]


def test_an_answer_without_end_is_not_taken(
    oidc: SocialApp, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_requests, "MAX_BYTES", 100)
    with pytest.raises(requests.RequestException, match="longer than 100 bytes"):
        ProviderSession().get(f"{provider.issuer}/.well-known/openid-configuration")


def test_what_comes_back_is_what_was_said(oidc: SocialApp, provider: OidcProvider) -> None:
    found = ProviderSession().get(f"{provider.issuer}/.well-known/openid-configuration")
    assert found.json()["issuer"] == provider.issuer
    missing = ProviderSession().get(f"{provider.issuer}/none")
    assert missing.status_code == 404
    with pytest.raises(requests.HTTPError):
        missing.raise_for_status()
