"""From rows of keys and of usage to the native API's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from apps.apikeys.models import ApiKey
from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.quotas.selectors import DayUsage, Usage


class KeyBody(TypedDict):
    """An API key without its secret; times are ISO 8601 in UTC."""

    id: str
    name: str
    account: str
    scopes: list[str]
    allowed_models: list[str]
    allowed_addresses: list[str]
    daily_cap: int | None
    state: str
    is_current: bool
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class IssuedKeyBody(KeyBody):
    """A new key; `key` is the only copy of its text there will ever be."""

    key: str


class Calls(TypedDict):
    """Of the present day of the account's time zone; null is without limit."""

    limit: int | None
    used: int
    reserved: int
    remaining: int | None
    resets_at: str


class Queue(TypedDict):
    """Requests that are waiting or running; null is without limit."""

    limit: int | None
    open: int


class Day(TypedDict):
    """Calls that succeeded on one day."""

    day: str
    calls: int


class UsageBody(TypedDict):
    """What the account has used, and what its plan allows."""

    account: str
    plan: str
    calls: Calls
    queue: Queue
    max_images: int
    kinds: list[str]
    days: list[Day]


def key_body(key: ApiKey, *, asked_by: ApiKey, now: datetime) -> KeyBody:
    """What holders of keys of the same account may know."""
    return {
        "id": key.prefix,
        "name": key.name,
        "account": asked_by.account.slug,
        "scopes": list(key.scopes),
        "allowed_models": list(key.allowed_checkpoints),
        "allowed_addresses": list(key.allowed_addresses),
        "daily_cap": key.daily_cap,
        "state": _state(key, now=now),
        "is_current": key.pk == asked_by.pk,
        "created_at": _iso(key.created_at) or "",
        "expires_at": _iso(key.expires_at),
        "last_used_at": _iso(key.last_used_at),
    }


def usage_body(
    *,
    account: str,
    usage: Usage,
    entitlements: Entitlements,
    open_jobs: int,
    days: Sequence[DayUsage],
) -> UsageBody:
    """All of it."""
    return {
        "account": account,
        "plan": entitlements.plan_code,
        "calls": {
            "limit": _limit(usage.limit),
            "used": usage.used,
            "reserved": usage.reserved,
            "remaining": _limit(usage.remaining),
            "resets_at": _iso(usage.resets_at) or "",
        },
        "queue": {"limit": _limit(entitlements.queue_depth), "open": open_jobs},
        "max_images": entitlements.max_samples,
        "kinds": sorted(entitlements.kinds),
        "days": [{"day": each.day.isoformat(), "calls": each.calls} for each in days],
    }


def _state(key: ApiKey, *, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.has_expired(now=now):
        return "expired"
    return "replaced" if key.replaced_by_id else "active"


def _limit(value: Limit) -> int | None:
    return None if isinstance(value, Unlimited) else value


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
