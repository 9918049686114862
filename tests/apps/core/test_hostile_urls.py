"""Whatever address a caller thinks of, nothing inside the network sees a connection.

A listener on this machine counts connections on every address it has; the resolver is the attacker's; every
attempt to connect is written down before it is made. Its port counts as one of the web's, so that addresses
alone decide. A control shows that the same addresses reach the listener once nothing checks them.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from apps.core import clock, fetch_policy
from apps.core.errors import InvalidField
from apps.core.fetch_policy import FetchPolicy, FetchRefused, is_public, parse_allowed
from apps.core.http import FetchFailed, fetch
from apps.core.http_post import post
from apps.generation.pictures import UrlSource, take_picture
from apps.webhooks.sending import Letter, send
from apps.webhooks.wishes import WebhookWish, address_of, require_permitted
from tests.apps.core.hostile_urls import HOSTILE, NAMES, PUBLIC, REDIRECTS, THIS_MACHINE
from tests.harness.model_server import ModelServer
from tests.harness.waits import wait_until

MOST_MESSAGE_CHARS = 400
CONNECT = socket.create_connection
LOOK_UP = socket.getaddrinfo


@dataclass
class Trap:
    """What came in, and where somebody tried to go."""

    port: int
    met: int = 0
    attempts: list[tuple[str, int]] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    """How often each name was looked up."""

    def connect(self, address: tuple[str, int], *arguments: Any, **options: Any) -> socket.socket:
        """In place of socket.create_connection."""
        self.attempts.append(address)
        if _comes_back(address[0]):
            return CONNECT(("127.0.0.1", address[1]), *arguments, **options)
        raise ConnectionRefusedError("the tests have no network")

    def look_up(self, host: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
        """In place of socket.getaddrinfo: numbers as the system reads them, any name is the attacker's."""
        with suppress(socket.gaierror):
            return LOOK_UP(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        name = host.lower().rstrip(".")
        answers = NAMES.get(name, [["127.0.0.1"]])
        count = self.asked.get(name, 0)
        self.asked[name] = count + 1
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", (text, port))
            for text in answers[count % len(answers)]
        ]

    def begin(self) -> None:
        """Forget what happened so far."""
        self.met = 0
        self.attempts.clear()
        self.asked.clear()


def _comes_back(text: str) -> bool:
    """Whether a connection to it is one to this machine."""
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


@pytest.fixture(scope="module")
def listener() -> Iterator[Trap]:
    """Counts connections on all addresses of this machine, and hangs up."""
    with socket.create_server(("", 0), backlog=64) as server:
        trap = Trap(port=server.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                trap.met += 1
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield trap
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def trap(listener: Trap, monkeypatch: pytest.MonkeyPatch) -> Trap:
    """The listener, with everything on the way to it replaced."""
    listener.begin()
    monkeypatch.setattr(socket, "create_connection", listener.connect)
    monkeypatch.setattr(socket, "getaddrinfo", listener.look_up)
    monkeypatch.setattr(fetch_policy, "WEB_PORTS", frozenset({80, 443, listener.port}))
    return listener


def by_fetch(url: str) -> str:
    with pytest.raises((FetchRefused, FetchFailed)) as caught:
        fetch(url, policy=FetchPolicy(), max_bytes=1000, total_s=2.0)
    return str(caught.value)


def by_post(url: str) -> str:
    with pytest.raises((FetchRefused, FetchFailed)) as caught:
        post(url, content=b"{}", headers={}, policy=FetchPolicy(), max_bytes=1000, total_s=2.0)
    return str(caught.value)


def by_picture(url: str) -> str:
    with pytest.raises(InvalidField) as caught:
        take_picture(UrlSource(url), field="image", now=clock.now())
    return str(caught.value)


def by_webhook(url: str) -> str:
    outcome = send(Letter(event_id="msg_1", url=url, body=b"{}", secrets=(b"secret",)))
    assert outcome.status is None
    return outcome.error


WAYS: list[Callable[[str], str]] = [by_fetch, by_post, by_picture, by_webhook]


@pytest.mark.parametrize("url", HOSTILE, ids=[ascii(url)[:80] for url in HOSTILE])
def test_nothing_inside_is_reached_by_any_way(url: str, trap: Trap) -> None:
    for way in WAYS:
        trap.begin()
        message = way(url.replace("{port}", str(trap.port)))
        assert 0 < len(message) <= MOST_MESSAGE_CHARS
        assert message.isprintable()
        assert {address for address, _ in trap.attempts} <= {PUBLIC}, way
        assert trap.met == 0, way


@pytest.mark.parametrize("target", REDIRECTS, ids=[ascii(target)[:80] for target in REDIRECTS])
def test_no_redirect_leads_inside(target: str, trap: Trap, settings: Any) -> None:
    with ModelServer() as server:
        settings.FETCH_ALLOW = [f"127.0.0.1/32:{server.port}"]
        url = server.add_redirect("/a", target.replace("{port}", str(trap.port)))
        policy = FetchPolicy(allow=(parse_allowed(settings.FETCH_ALLOW[0]),))
        with pytest.raises((FetchRefused, FetchFailed)) as caught:
            fetch(url, policy=policy, max_bytes=1000, total_s=2.0)
        assert len(str(caught.value)) <= MOST_MESSAGE_CHARS
        by_picture(url)
        assert set(trap.attempts) == {("127.0.0.1", server.port)}
    assert trap.met == 0


def test_without_the_check_the_same_addresses_do_reach_the_listener(
    trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_policy, "is_public", lambda address: True)
    for host in THIS_MACHINE:
        by_fetch(f"http://{host}:{trap.port}/")
    reached = [address for address, _ in trap.attempts if _comes_back(address)]
    assert len(reached) > len(THIS_MACHINE) * 0.7
    wait_until(lambda: trap.met == len(reached), what="connections")


def test_a_wish_for_a_webhook_is_refused_at_once_where_its_host_is_an_address(trap: Trap) -> None:
    for template in HOSTILE:
        url = template.replace("{port}", str(trap.port))
        try:
            address_of(WebhookWish(url=url).url)
            require_permitted(url)
        except InvalidField:
            continue
        # In no spelling that the system takes for one.
        with pytest.raises((socket.gaierror, UnicodeError)):
            LOOK_UP(urlsplit(url).hostname, None, flags=socket.AI_NUMERICHOST)
    assert not trap.asked


def test_a_name_that_changes_its_mind_is_asked_once_for_each_connection(trap: Trap) -> None:
    by_fetch(f"http://rebinding.test:{trap.port}/")
    assert trap.asked == {"rebinding.test": 1}
    assert trap.attempts == [(PUBLIC, trap.port)]


def test_there_are_enough_of_them() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 250
    assert len(set(REDIRECTS)) == len(REDIRECTS) >= 30


@pytest.mark.parametrize(
    ("network", "before", "after"),
    [
        ("0.0.0.0/8", None, "1.0.0.0"),
        ("10.0.0.0/8", "9.255.255.255", "11.0.0.0"),
        ("100.64.0.0/10", "100.63.255.255", "100.128.0.0"),
        ("127.0.0.0/8", "126.255.255.255", "128.0.0.0"),
        ("168.63.129.16/32", "168.63.129.15", "168.63.129.17"),
        ("169.254.0.0/16", "169.253.255.255", "169.255.0.0"),
        ("172.16.0.0/12", "172.15.255.255", "172.32.0.0"),
        ("192.0.0.0/24", "191.255.255.255", "192.0.1.0"),
        ("192.0.2.0/24", "192.0.1.255", "192.0.3.0"),
        ("192.88.99.0/24", "192.88.98.255", "192.88.100.0"),
        ("192.168.0.0/16", "192.167.255.255", "192.169.0.0"),
        ("198.18.0.0/15", "198.17.255.255", "198.20.0.0"),
        ("198.51.100.0/24", "198.51.99.255", "198.51.101.0"),
        ("203.0.113.0/24", "203.0.112.255", "203.0.114.0"),
        ("224.0.0.0/3", "223.255.255.255", None),
        ("::/3", None, "2000::"),
        ("2001::/23", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
        ("2001:db8::/32", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
        ("2002::/16", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
        ("3fff::/20", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
        ("4000::/2", None, None),
        ("8000::/1", None, None),
    ],
)
def test_networks_end_where_they_end(network: str, before: str | None, after: str | None) -> None:
    inside = ipaddress.ip_network(network)
    assert not is_public(inside[0])
    assert not is_public(inside[-1])
    for outside in (before, after):
        assert outside is None or is_public(ipaddress.ip_address(outside))
