"""From rows of keys and of usage to the native API's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from apps.api.native.money_render import Money
from apps.apikeys.models import ApiKey
from apps.generation.devices import KeptDevice
from apps.generation.selectors import OpenJobs
from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.quotas import selectors as quota
from apps.quotas.selectors import BudgetUsage, DayUsage, KeyCaps, MonthUsage, Usage


class KeyBody(TypedDict):
    """An API key without its secret; times are ISO 8601 in UTC."""

    id: str
    name: str
    account: str
    scopes: list[str]
    allowed_models: list[str]
    allowed_addresses: list[str]
    daily_cap: int | None
    monthly_cap: int | None
    queue_depth: int | None
    max_parallel: int | None
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


class Taken(TypedDict):
    """How much of a limit is gone; null is without limit. `used` counts open requests, too."""

    limit: int | None
    used: int
    remaining: int | None
    resets_at: str


class Month(TypedDict):
    """The present calendar month of the account's time zone."""

    calls: Taken
    included: Taken
    free_today: Taken


class FairUse(TypedDict):
    """Calls a month beyond which the account's share of the machine falls; nothing is refused for it."""

    limit: int | None
    exceeded: bool
    weight: float
    full_weight: float


class Queue(TypedDict):
    """Requests that are waiting or running; null is without limit."""

    limit: int | None
    open: int


class Parallel(TypedDict):
    """Requests that are running; more wait, and null is without limit."""

    limit: int | None
    running: int


class KeyUsage(TypedDict):
    """The caps of the key that asks; null where it has none."""

    day: Taken | None
    month: Taken | None
    queue: Queue
    parallel: Parallel


class Device(TypedDict):
    """A device that is kept for the account; while it is offline, requests wait for it."""

    name: str
    state: str


class Spending(TypedDict):
    """A monthly budget of the account, or of the key that asks; millionths of a US dollar."""

    key: str | None
    is_hard: bool
    limit_micro: int
    spent_micro: int
    remaining_micro: int
    resets_at: str


class Day(TypedDict):
    """Calls that succeeded on one day."""

    day: str
    calls: int


class UsageBody(TypedDict):
    """What the account has used, and what its plan allows."""

    account: str
    plan: str
    calls: Calls
    month: Month
    fair_use: FairUse
    key: KeyUsage
    budgets: list[Spending]
    money: Money
    queue: Queue
    parallel: Parallel
    service_level: str | None
    devices: list[Device]
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
        "monthly_cap": key.monthly_cap,
        "queue_depth": key.queue_depth,
        "max_parallel": key.max_parallel,
        "state": _state(key, now=now),
        "is_current": key.pk == asked_by.pk,
        "created_at": _iso(key.created_at) or "",
        "expires_at": _iso(key.expires_at),
        "last_used_at": _iso(key.last_used_at),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFacts:
    """What `usage_body` says."""

    key: ApiKey
    """Of the caller, with its account."""
    usage: Usage
    month: MonthUsage
    caps: KeyCaps
    budgets: Sequence[BudgetUsage]
    money: Money
    entitlements: Entitlements
    open_jobs: OpenJobs
    devices: Sequence[KeptDevice]
    days: Sequence[DayUsage]


def usage_body(facts: UsageFacts) -> UsageBody:
    """All of it."""
    may, jobs = facts.entitlements, facts.open_jobs
    return {
        "account": facts.key.account.slug,
        "plan": may.plan_code,
        "calls": _calls(facts.usage),
        "month": {
            "calls": _taken(facts.month.calls),
            "included": _taken(facts.month.included),
            "free_today": _taken(facts.month.free_today),
        },
        "fair_use": _fair_use(facts.month),
        "key": _key_usage(facts),
        "budgets": [_spending(each) for each in facts.budgets],
        "money": facts.money,
        "queue": {"limit": _limit(may.queue_depth), "open": jobs.open},
        "parallel": {"limit": _limit(may.max_parallel), "running": jobs.running},
        "service_level": may.sla,
        "devices": [
            {"name": each.name, "state": "online" if each.is_online else "offline"} for each in facts.devices
        ],
        "max_images": may.max_samples,
        "kinds": sorted(may.kinds),
        "days": [{"day": each.day.isoformat(), "calls": each.calls} for each in facts.days],
    }


def _calls(usage: Usage) -> Calls:
    return {
        "limit": _limit(usage.limit),
        "used": usage.used,
        "reserved": usage.reserved,
        "remaining": _limit(usage.remaining),
        "resets_at": _iso(usage.resets_at) or "",
    }


def _fair_use(month: MonthUsage) -> FairUse:
    return {
        "limit": _limit(month.fair_use_limit),
        "exceeded": month.is_beyond_fair_use,
        "weight": month.weight,
        "full_weight": month.full_weight,
    }


def _key_usage(facts: UsageFacts) -> KeyUsage:
    caps, key, jobs = facts.caps, facts.key, facts.open_jobs
    return {
        "day": None if caps.day is None else _taken(caps.day),
        "month": None if caps.month is None else _taken(caps.month),
        "queue": {"limit": key.queue_depth, "open": jobs.keys_open},
        "parallel": {"limit": key.max_parallel, "running": jobs.keys_running},
    }


def _taken(part: quota.Taken) -> Taken:
    return {
        "limit": _limit(part.limit),
        "used": part.used,
        "remaining": _limit(part.remaining),
        "resets_at": _iso(part.resets_at) or "",
    }


def _spending(found: BudgetUsage) -> Spending:
    budget = found.budget
    return {
        "key": None if budget.api_key is None else budget.api_key.prefix,
        "is_hard": budget.is_hard,
        "limit_micro": budget.limit_micro,
        "spent_micro": found.spent_micro,
        "remaining_micro": found.remaining_micro,
        "resets_at": _iso(found.resets_at) or "",
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
