"""Names of hosts."""

from __future__ import annotations

import ipaddress


def is_this_machine(host: str) -> bool:
    """Whether `host` is this very machine, by its name or an address; nothing is looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
