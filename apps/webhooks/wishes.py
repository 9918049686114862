"""What a request says about its webhook, and whether this server would go there."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from apps.core.errors import InvalidField
from apps.core.fetch_policy import WEB_PORTS, FetchPolicy, FetchRefused, policy_from_settings
from apps.webhooks.models import MAX_URL_CHARS

FIELD: Final = "webhook"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# Of an IPv6 address that stands for one of this machine's interfaces; no URL that leaves it has one.
ZONE: Final = "%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A checked wish as rows hold it. Checks nothing itself: no later rule may keep a job from ending."""

    url: str
    address: str
    """The endpoint: scheme, host, port if unusual, and path. Queries carry what differs by event."""
    dialect: str

    def to_json(self) -> dict[str, str]:
        """For the job's row."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Target:  # Any: JSON
        """From what `to_json` wrote."""
        return cls(**stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookWish:
    """Where a caller wants to be told of the end of a job. Raises InvalidField for what is no such URL."""

    url: str
    """http or https, printable ASCII, at most 2048 characters."""
    dialect: str = "modelslab"
    """Whose body is sent: a name in settings.WEBHOOK_BODIES."""

    def __post_init__(self) -> None:
        if self.dialect not in settings.WEBHOOK_BODIES:
            raise ValueError(f"settings.WEBHOOK_BODIES has no bodies of the dialect {self.dialect!r}")
        _split(self.url)

    @property
    def target(self) -> Target:
        """For rows."""
        return Target(url=self.url, address=address_of(self.url), dialect=self.dialect)


def address_of(url: str) -> str:
    """The endpoint behind a URL that has passed `WebhookWish`."""
    parts = _split(url)
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path or '/'}"


def require_permitted(url: str) -> None:
    """What can be told before the name is resolved; each attempt checks what it resolves to.

    Raises InvalidField for plain http where https is required, and for ports and literal addresses that are
    neither of the open internet nor on the operator's list.
    """
    parts = _split(url)
    if settings.WEBHOOK_HTTPS and parts.scheme != "https":
        raise _refused("must begin with https:// on this server")
    policy = policy_from_settings()
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
    try:
        policy.check_url(scheme=parts.scheme, host=host, has_password=parts.password is not None)
        literal = _literal(host)
        if literal is not None:
            policy.choose(host, port, [literal])
        elif not _is_port_open(policy, port):
            raise FetchRefused(f"Port {port} is not sent to, only 80 and 443.")
    except FetchRefused as refusal:
        raise _refused(f"cannot be used: {refusal}") from None


def _is_port_open(policy: FetchPolicy, port: int) -> bool:
    """Whether a name could resolve to anything that may be reached there."""
    return port in WEB_PORTS or any(allowed.port == port for allowed in policy.allow)


def _literal(host: str) -> str | None:
    """The address that a host is, if it is one in any spelling that the system's resolver takes for one."""
    text = host.rstrip(".")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    return _resolver_number(text)


def _resolver_number(text: str) -> str | None:
    """`127.1`, `0x7f.1` and `2130706433` are 127.0.0.1 to a resolver, one to four numbers in C's notation."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4:
        return None
    try:
        numbers = [_c_number(part) for part in parts]
    except ValueError:
        return None
    *leading, last = numbers
    if any(number > 255 for number in leading) or last >= 256 ** (4 - len(leading)):
        return None
    value = last
    for position, number in enumerate(leading):
        value |= number << (8 * (3 - position))
    return str(ipaddress.IPv4Address(value))


def _c_number(text: str) -> int:
    if not text.isascii() or not text.isalnum():
        raise ValueError(text)
    if text.lower().startswith("0x"):
        return int(text, base=16)
    return int(text, base=8 if text.startswith("0") else 10)


def _split(url: str) -> SplitResult:
    """Raises InvalidField."""
    if len(url) > MAX_URL_CHARS:
        raise _refused(f"must be at most {MAX_URL_CHARS} characters, not {len(url)}")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise _refused("must be a URL of printable ASCII characters; encode all others")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("is not a readable URL") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise _refused("must be a URL that begins with https:// or http://")
    if not parts.hostname or port == 0 or ZONE in parts.hostname or "\\" in url:
        raise _refused("must be a URL that names a host")
    if parts.username is not None or parts.password is not None:
        raise _refused("must not contain a user name or password; put a token into the path or query")
    return parts


def _refused(problem: str) -> InvalidField:
    return InvalidField(field=FIELD, problem=problem)
