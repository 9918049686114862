"""The safe fetcher: where it goes, where it does not, and what it does not carry along."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from apps.core import http
from apps.core.fetch_policy import (
    AllowedNetwork,
    FetchPolicy,
    FetchRefused,
    is_public,
    parse_allowed,
    policy_from_settings,
)
from apps.core.http import FetchFailed, FetchTooLarge, fetch, open_client
from tests.harness.model_server import Fault, ModelServer
from tests.harness.waits import wait_until

MEGABYTE = 1_000_000


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def policy_for(server: ModelServer, **fields: Any) -> FetchPolicy:
    """Lets this server through, as an operator would."""
    return FetchPolicy(allow=(parse_allowed(f"127.0.0.1/32:{server.port}"),), **fields)


def get(url: str, policy: FetchPolicy, **options: Any) -> http.Fetched:
    return fetch(url, policy=policy, **({"max_bytes": MEGABYTE, "total_s": 5.0} | options))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.7",
        "198.18.0.1",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_of_the_open_internet(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"],
)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("10.1.0.0/16", "10.1.0.0/16", None),
        ("127.0.0.1:8080", "127.0.0.1/32", 8080),
        ("192.168.0.0/24:8443", "192.168.0.0/24", 8443),
        ("fd00::/8", "fd00::/8", None),
        ("[fd00::/8]:8443", "fd00::/8", 8443),
        ("[::1]", "::1/128", None),
    ],
)
def test_allow_list_entries(text: str, network: str, port: int | None) -> None:
    assert parse_allowed(text) == AllowedNetwork(ipaddress.ip_network(network), port)


@pytest.mark.parametrize(
    "text", ["", "example.com", "10.0.0.1/8", "10.0.0.0/8:0", "10.0.0.0/8:x", "1.2.3.4:99999"]
)
def test_entries_that_are_no_network_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a network such as"):
        parse_allowed(text)


def test_an_entry_without_port_opens_the_ports_of_the_web_alone() -> None:
    policy = FetchPolicy(allow=(parse_allowed("10.0.0.0/8"),))
    address = ipaddress.ip_address("10.2.3.4")
    assert [port for port in (22, 80, 443, 8080) if policy.permits(address, port)] == [80, 443]


def test_private_addresses_are_refused_without_a_connection(server: ModelServer) -> None:
    with pytest.raises(FetchRefused, match="inside a private network"):
        get(server.add_file("/a", b"secret"), FetchPolicy())
    assert server.requests == []


def test_an_allowed_address_is_fetched_from(server: ModelServer) -> None:
    fetched = get(
        server.add_file("/a", b"hello", content_type="Text/Plain; charset=utf-8"), policy_for(server)
    )
    assert (fetched.content, fetched.content_type) == (b"hello", "text/plain")


def test_the_allowed_port_is_the_only_one(server: ModelServer) -> None:
    policy = FetchPolicy(allow=(parse_allowed(f"127.0.0.1/32:{server.port + 1}"),))
    with pytest.raises(FetchRefused):
        get(server.add_file("/a", b"hello"), policy)
    assert server.requests == []


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "127.1", "017700000001", "localhost", "[::ffff:127.0.0.1]"]
)
def test_other_spellings_of_this_machine_are_refused(server: ModelServer, host: str) -> None:
    server.add_file("/a", b"secret")
    with pytest.raises((FetchRefused, FetchFailed)):
        get(f"http://{host}:{server.port}/a", FetchPolicy())
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["ftp://example.com/a", "file:///etc/passwd", "gopher://example.com/", "http:///a"]
)
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(FetchRefused):
        get(url, FetchPolicy())


def test_a_password_in_the_address_is_refused(server: ModelServer) -> None:
    server.add_file("/a", b"x")
    with pytest.raises(FetchRefused, match="password"):
        get(f"http://user:secret@127.0.0.1:{server.port}/a", policy_for(server))
    assert server.requests == []


def test_other_ports_of_public_hosts_are_refused() -> None:
    with pytest.raises(FetchRefused, match=r"Port 22 of example\.com"):
        get("http://example.com:22/", FetchPolicy(), resolve=lambda host, port: ["93.184.216.34"])


def test_hosts_outside_the_list_are_refused_before_they_are_looked_up(server: ModelServer) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    policy = policy_for(server, hosts=("*.example.com", "hub.test"))
    with pytest.raises(FetchRefused, match=r"The host example\.org is not among those"):
        get(f"http://example.org:{server.port}/a", policy, resolve=resolve)
    assert asked == []
    server.add_file("/a", b"x")
    assert get(f"http://cdn.EXAMPLE.com:{server.port}/a", policy, resolve=resolve).content == b"x"
    assert get(f"http://hub.test:{server.port}/a", policy, resolve=resolve).content == b"x"


def test_a_name_is_resolved_once_and_the_checked_address_connected_to(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name that answers with something else the second time must find nobody asking.
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    connected: list[Any] = []
    connect = socket.create_connection

    def spy(address: Any, *arguments: Any, **options: Any) -> socket.socket:
        connected.append(address)
        return connect(address, *arguments, **options)

    monkeypatch.setattr(socket, "create_connection", spy)
    server.add_file("/a", b"x")
    url = f"http://rebinding.test:{server.port}/a"
    assert get(url, policy_for(server), resolve=lambda host, port: next(answers)).content == b"x"
    assert connected == [("127.0.0.1", server.port)]
    assert server.asked("/a")[0].headers["Host"] == f"rebinding.test:{server.port}"


def test_of_several_addresses_the_forbidden_ones_are_not_tried(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[Any] = []
    connect = socket.create_connection

    def spy(address: Any, *arguments: Any, **options: Any) -> socket.socket:
        connected.append(address[0])
        return connect(address, *arguments, **options)

    monkeypatch.setattr(socket, "create_connection", spy)
    server.add_file("/a", b"x")
    url = f"http://mixed.test:{server.port}/a"
    get(url, policy_for(server), resolve=lambda host, port: ["10.0.0.1", "127.0.0.1"])
    assert connected == ["127.0.0.1"]


def test_each_hop_of_a_redirect_is_checked(server: ModelServer) -> None:
    server.add_file("/secret", b"secret")
    url = server.add_redirect("/a", "http://169.254.169.254/latest/meta-data")
    with pytest.raises(FetchRefused, match=r"169\.254\.169\.254 is an address inside a private network"):
        get(url, policy_for(server))
    assert [request.path for request in server.requests] == ["/a"]


def test_three_redirects_are_followed_and_a_fourth_is_not(server: ModelServer) -> None:
    server.add_file("/end", b"there")
    for number, target in ((1, "/end"), (2, "/1"), (3, "/2"), (4, "/3")):
        server.add_redirect(f"/{number}", target)
    assert get(server.url + "/3", policy_for(server)).content == b"there"
    with pytest.raises(FetchFailed, match="redirected too often"):
        get(server.url + "/4", policy_for(server))


def test_credentials_stay_with_their_host(server: ModelServer) -> None:
    with ModelServer() as other:
        target = other.add_file("/file", b"x")
        url = server.add_redirect("/a", target)
        allow = (*policy_for(server).allow, *policy_for(other).allow)
        get(url, FetchPolicy(allow=allow), headers={"Authorization": "Bearer secret"})
        assert server.asked("/a")[0].headers["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.asked("/file")[0].headers
    server.add_redirect("/b", "/c")
    server.add_file("/c", b"x")
    get(server.url + "/b", policy_for(server), headers={"Authorization": "Bearer secret"})
    assert server.asked("/c")[0].headers["Authorization"] == "Bearer secret"


def test_cookies_are_not_kept(server: ModelServer) -> None:
    server.add_file("/a", b"x", headers={"Set-Cookie": "session=1; Path=/"})
    with open_client(policy_for(server), max_bytes=MEGABYTE) as client:
        client.get(server.url + "/a")
        client.get(server.url + "/a")
    assert all("Cookie" not in request.headers for request in server.requests)


def test_from_https_to_http_is_no_way() -> None:
    response = httpx2.Response(
        302,
        headers={"Location": "http://example.com/a"},
        request=httpx2.Request("GET", "https://example.com/"),
    )
    with pytest.raises(FetchRefused, match="from https to http"):
        http._refuse_downgrade(response)


def test_the_environment_chooses_no_proxy_and_no_password(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(server.add_file("/a", b"x"), policy_for(server)).content == b"x"
    assert "Authorization" not in server.asked("/a")[0].headers


def test_answers_are_never_unpacked(server: ModelServer) -> None:
    url = server.add_file("/a", b"not really packed")
    get(url, policy_for(server))
    assert server.asked("/a")[0].headers["Accept-Encoding"] == "identity"
    server.fault("/a", Fault(gzip_header=True))
    with pytest.raises(FetchFailed, match="compresses although"):
        get(url, policy_for(server))


@pytest.mark.parametrize("fault", [Fault(), Fault(no_length=True)])
def test_an_answer_that_is_too_long_is_cut_off(server: ModelServer, fault: Fault) -> None:
    url = server.add_file("/a", bytes(300_000))
    server.fault("/a", fault)
    assert len(get(url, policy_for(server), max_bytes=300_000).content) == 300_000
    with pytest.raises(FetchTooLarge):
        get(url, policy_for(server), max_bytes=299_999)


def test_time_is_bounded_however_slowly_it_drips(server: ModelServer) -> None:
    url = server.add_file("/a", bytes(MEGABYTE))
    server.fault("/a", Fault(bytes_per_s=400_000))
    with pytest.raises(FetchFailed, match="did not answer in time"):
        get(url, policy_for(server), total_s=0.5)
    assert server.requests[0].sent < MEGABYTE


def test_a_refusal_of_the_server_is_a_failure_that_names_no_secret(server: ModelServer) -> None:
    with pytest.raises(FetchFailed) as caught:
        get(server.url + "/missing?token=secret", policy_for(server))
    assert str(caught.value) == "127.0.0.1 answered 404."


def test_an_unknown_name_is_a_failure() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    with pytest.raises(FetchFailed, match=r"the name nowhere\.test is unknown"):
        get("http://nowhere.test/", FetchPolicy(), resolve=resolve)


def test_a_name_whose_servers_say_nothing_is_given_up_in_time() -> None:
    release = threading.Event()
    found: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        release.wait()
        found.append("127.0.0.1")
        return found

    with pytest.raises(FetchFailed, match="did not answer in time"):
        get("http://slow.test/", FetchPolicy(), resolve=resolve, total_s=0.2)
    assert found == []
    release.set()


def test_abort_wakes_a_reader_that_nobody_else_would_wake(server: ModelServer) -> None:
    url = server.add_file("/a", bytes(500_000))
    server.fault("/a", Fault(stall_at=0.5))
    client = open_client(policy_for(server), max_bytes=None)
    ended: list[str] = []

    def read() -> None:
        try:
            client.get(url)
        except httpx2.HTTPError as error:
            ended.append(type(error).__name__)

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: server.requests and server.requests[0].sent == 250_000, what="half of the answer")
    client.abort()
    # Left alone, it would end with a ReadTimeout.
    thread.join()
    assert ended == ["RemoteProtocolError"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for hub.test, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=hub.test"
    )
    names = ["-addext", "subjectAltName=DNS:hub.test", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    whole = folder / "whole.pem"
    whole.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return whole


def test_tls_verifies_the_name_although_the_connection_goes_to_an_address(
    server: ModelServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda socket, name, context: asked.append(name)
    server.encrypt(context)
    server.add_file("/a", b"hello")
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(http, "_ssl_context", lambda: trusting)

    def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    url = f"https://hub.test:{server.port}/a"
    assert get(url, policy_for(server), resolve=resolve).content == b"hello"
    assert asked == ["hub.test"]
    with pytest.raises(FetchFailed, match="certificate"):
        get(f"https://other.test:{server.port}/a", policy_for(server), resolve=resolve)
    assert len(server.requests) == 1


def test_without_trust_there_is_no_answer(server: ModelServer, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.encrypt(context)
    server.add_file("/a", b"hello")
    with pytest.raises(FetchFailed, match="certificate"):
        get(f"https://127.0.0.1:{server.port}/a", policy_for(server))
    assert server.requests == []


def test_the_operators_settings_make_the_policy(settings: Any) -> None:
    settings.FETCH_ALLOW = ["10.0.0.0/8", "127.0.0.1:8080"]
    settings.FETCH_MAX_REDIRECTS = 1
    policy = policy_from_settings(hosts=["hub.test"])
    assert policy == FetchPolicy(
        allow=(parse_allowed("10.0.0.0/8"), parse_allowed("127.0.0.1:8080")),
        hosts=("hub.test",),
        max_redirects=1,
    )
