"""Where the appliance may fetch from: schemes, hosts, addresses and ports. Decides; connects to nothing."""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from django.conf import settings

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

WEB_PORTS: Final = frozenset({80, 443})
MAX_HOST_CHARS: Final = 253
# IPv6 is reached in the one part of it that is given out, and where it stands for an IPv4 address that may
# be reached: as that address in full, or by the translator of the network.
GIVEN_OUT: Final = ipaddress.ip_network("2000::/3")
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# Beyond what Python's tables say, which differ by version.
SPECIAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's own services, the same for all its machines
        "192.0.0.0/24",  # protocols; Oracle's metadata service is among them
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # protocols; Teredo among them
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
# The lower half of an ISATAP address ends in an IPv4 address behind one of these.
ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


class FetchRefused(Exception):
    """The appliance may not go there. The message names the host or the rule and may be shown."""


@dataclass(frozen=True, slots=True)
class AllowedNetwork:
    """An operator's exception: addresses that may be reached although they are not global."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    port: int | None
    """None: the usual ports of the web."""

    def covers(self, address: Address, port: int) -> bool:
        ports = WEB_PORTS if self.port is None else {self.port}
        return port in ports and address.version == self.network.version and address in self.network


def parse_allowed(text: str) -> AllowedNetwork:
    """`10.1.0.0/16`, `127.0.0.1:8080`, `[fd00::/8]:8443`. Raises ValueError naming the entry."""
    network, port = text.strip(), ""
    if network.startswith("["):
        network, _, rest = network[1:].partition("]")
        port = rest.removeprefix(":")
    elif network.count(":") == 1:
        network, port = network.split(":")
    try:
        chosen = int(port) if port else None
        if chosen is not None and not 0 < chosen < 65536:
            raise ValueError
        return AllowedNetwork(ipaddress.ip_network(network), chosen)
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16 or 127.0.0.1:8080") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicy:
    """Where fetches may go."""

    allow: tuple[AllowedNetwork, ...] = ()
    hosts: tuple[str, ...] = ("*",)
    """Shell patterns; each hop's host name must match one."""
    max_redirects: int = 3

    def check_url(self, *, scheme: str, host: str, has_password: bool) -> None:
        """What can be told of an address before resolving its name. Raises FetchRefused."""
        if scheme not in ("http", "https"):
            raise FetchRefused(f"Only http and https are fetched, not {scheme[:20]!r}.")
        if has_password:
            raise FetchRefused("An address with a password in it is not fetched.")
        host = host.rstrip(".").lower()
        if not host:
            raise FetchRefused("The address names no host.")
        if len(host) > MAX_HOST_CHARS:
            raise FetchRefused(f"The address names a host of more than {MAX_HOST_CHARS} characters.")
        if not any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in self.hosts):
            raise FetchRefused(f"The host {host} is not among those this server may fetch from.")

    def permits(self, address: Address, port: int) -> bool:
        """Whether this address may be connected to."""
        if any(allowed.covers(address, port) for allowed in self.allow):
            return True
        return port in WEB_PORTS and is_public(address)

    def check_port(self, port: int) -> None:
        """Before anything is asked about a name at that port. Raises FetchRefused."""
        if not 0 < port < 65536:
            raise FetchRefused("The address names a port that does not exist.")

    def choose(self, host: str, port: int, found: Iterable[str]) -> list[Address]:
        """The permitted ones of a name's addresses. Raises FetchRefused when there is none."""
        addresses = [ipaddress.ip_address(text) for text in dict.fromkeys(found)]
        permitted = [address for address in addresses if self.permits(address, port)]
        if permitted:
            return permitted
        if any(is_public(address) for address in addresses):
            raise FetchRefused(f"Port {port} of {host} is not fetched from, only 80 and 443.")
        raise FetchRefused(f"{host} is an address inside a private network, which is not fetched from.")


def is_public(address: Address) -> bool:
    """Whether the address is one of the open internet, seen through every way of wrapping IPv4 in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in GIVEN_OUT or (int(address) >> 32 & 0xFFFFFFFF) in ISATAP:
            return False
    if any(address in network for network in SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def policy_from_settings(*, hosts: Sequence[str] = ("*",)) -> FetchPolicy:
    """The operator's rules."""
    return FetchPolicy(
        allow=tuple(parse_allowed(text) for text in settings.FETCH_ALLOW),
        hosts=tuple(hosts),
        max_redirects=settings.FETCH_MAX_REDIRECTS,
    )
