"""What a key is made for: its name, rights and limits, as they are asked for and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from ipaddress import ip_network
from typing import Any, Final

from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.core.errors import InvalidField

MAX_NAME_CHARS: Final = 100
LOWEST: Final = {"daily_cap": 0, "monthly_cap": 0, "queue_depth": 0, "max_parallel": 1}
"""Limits in numbers, and the least each may be: where nothing may run, jobs would wait for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """Name, rights and limits of a key. None and empty lists are no limit."""

    name: str
    scopes: Sequence[Scope] | None = None
    """None where the asker leaves it to who makes the key."""
    expires_at: datetime | None = None
    allowed_checkpoints: Sequence[str] = ()
    """Names of checkpoints, no aliases."""
    allowed_addresses: Sequence[str] = ()
    """Networks in CIDR form."""
    daily_cap: int | None = None
    monthly_cap: int | None = None
    queue_depth: int | None = None
    """Most open jobs; more are refused."""
    max_parallel: int | None = None
    """Most jobs that run at once; more wait."""

    def checked(self, *, now: datetime) -> KeyTerms:
        """The same, tidied.

        Raises InvalidField for no scope, a blank name, a past expiry, a malformed network or a number that
        is too low.
        """
        name = self.name.strip()
        if not name or len(self.name) > MAX_NAME_CHARS:
            raise InvalidField(field="name", problem=f"must be 1 to {MAX_NAME_CHARS} characters")
        if not self.scopes:
            raise InvalidField(field="scopes", problem="must name at least one scope")
        if self.expires_at is not None and self.expires_at <= now:
            raise InvalidField(field="expires_at", problem="must lie in the future")
        for field, lowest in LOWEST.items():
            number = getattr(self, field)
            if number is not None and number < lowest:
                raise InvalidField(field=field, problem=f"must be at least {lowest}")
        return replace(self, name=name, allowed_addresses=[_network(each) for each in self.allowed_addresses])

    def fields(self) -> dict[str, Any]:
        """Values of the row's fields (Any) by their names."""
        return asdict(self) | {
            "scopes": [scope.value for scope in self.scopes or ()],
            "allowed_checkpoints": list(self.allowed_checkpoints),
            "allowed_addresses": list(self.allowed_addresses),
        }


def terms_of(key: ApiKey) -> KeyTerms:
    """Those that a key has."""
    return KeyTerms(
        name=key.name,
        scopes=[Scope(value) for value in key.scopes],
        expires_at=key.expires_at,
        allowed_checkpoints=key.allowed_checkpoints,
        allowed_addresses=key.allowed_addresses,
        daily_cap=key.daily_cap,
        monthly_cap=key.monthly_cap,
        queue_depth=key.queue_depth,
        max_parallel=key.max_parallel,
    )


def _network(text: str) -> str:
    try:
        return str(ip_network(text.strip()))
    except ValueError as error:
        raise InvalidField(field="allowed_addresses", problem=f"is not in CIDR form: {error}") from None
