"""Which addresses a request may name, and what counts as one endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import InvalidField
from apps.webhooks.wishes import WebhookWish, address_of, require_permitted


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must be a URL that begins with https:// or http://"),
        ("example.com/hook", "must be a URL that begins with https:// or http://"),
        ("ftp://example.com/", "must be a URL that begins with https:// or http://"),
        ("https:///hook", "must be a URL that names a host"),
        ("https://example.com:0/", "must be a URL that names a host"),
        ("https://example.com:port/", "is not a readable URL"),
        ("https://[::1", "is not a readable URL"),
        ("https://me:secret@example.com/", "must not contain a user name or password"),
        ("https://example.com/h\N{LATIN SMALL LETTER U WITH DIAERESIS}", "printable ASCII"),
        ("https://example.com/a b", "printable ASCII"),
        ("https://example.com/\r\nHost: x", "printable ASCII"),
        ("https://example.com\\@127.0.0.1/", "must be a URL that names a host"),
        ("https://example.com/" + "x" * 2048, "must be at most 2048 characters"),
    ],
)
def test_what_is_no_address_is_refused(url: str, problem: str) -> None:
    with pytest.raises(InvalidField) as refused:
        WebhookWish(url=url)
    assert refused.value.field == "webhook"
    assert problem in refused.value.problem


def test_a_dialect_without_bodies_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="WEBHOOK_BODIES"):
        WebhookWish(url="https://example.com/", dialect="klingon")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://Example.com/hook?token=1#x", "https://example.com/hook"),
        ("https://example.com:443/hook", "https://example.com/hook"),
        ("https://example.com.", "https://example.com/"),
        ("http://example.com:8080/a/", "http://example.com:8080/a/"),
        ("http://[fd00::1]:80/", "http://[fd00::1]/"),
    ],
)
def test_one_endpoint_is_host_and_path(url: str, address: str) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
    ],
)
def test_private_literals_are_refused_at_once_in_every_spelling(host: str) -> None:
    with pytest.raises(InvalidField, match="private network"):
        require_permitted(f"https://{host}/hook")


@pytest.mark.parametrize(
    "host", ["93.184.216.34", "example.com", "1.2.3.4.5", "face.b00c.example", "0x.example"]
)
def test_the_open_internet_is_fine(host: str) -> None:
    require_permitted(f"https://{host}/hook?x=1")


def test_unusual_ports_are_refused_unless_an_operator_opens_them(settings: Any) -> None:
    with pytest.raises(InvalidField, match="Port 8443"):
        require_permitted("https://hooks.example:8443/")
    settings.FETCH_ALLOW = ["10.0.0.0/8:8443"]
    require_permitted("https://hooks.example:8443/")
    require_permitted("https://10.2.3.4:8443/")
    with pytest.raises(InvalidField, match="private network"):
        require_permitted("https://10.2.3.4/")


def test_plain_http_is_the_operators_choice(settings: Any) -> None:
    with pytest.raises(InvalidField, match="must begin with https://"):
        require_permitted("http://example.com/")
    settings.WEBHOOK_HTTPS = False
    require_permitted("http://example.com/")
