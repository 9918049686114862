"""Keys as the page shows them: their state in words, and what they were used for lately."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db.models import Sum
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.billing.models import UsageDay
from apps.core.clock import quota_day

DAYS: Final = 30
WIDTH: Final = 120
HEIGHT: Final = 28
ENDING_SOON: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownKey:
    """A key with what is known of its use."""

    key: ApiKey
    state: str
    """active, replaced, expiring, expired or revoked."""
    state_label: str | Promise
    calls: Sequence[int]
    """Of each of the last DAYS days, oldest first."""

    @property
    def is_usable(self) -> bool:
        return self.state in ("active", "replaced", "expiring")

    @property
    def total(self) -> int:
        return sum(self.calls)

    @property
    def points(self) -> str:
        """The line of its use, for a drawing of WIDTH by HEIGHT."""
        highest = max(self.calls, default=0) or 1
        step = WIDTH / (len(self.calls) - 1)
        return " ".join(
            f"{index * step:.1f},{HEIGHT - 2 - count / highest * (HEIGHT - 4):.1f}"
            for index, count in enumerate(self.calls)
        )


_STATES: Final[Mapping[str, Promise]] = {
    "active": _("Active"),
    "replaced": _("Replaced, still works"),
    "expiring": _("Ends soon"),
    "expired": _("Expired"),
    "revoked": _("Revoked"),
}


def list_keys(*, account: Account, now: datetime) -> list[ShownKey]:
    """Newest first; the portal's own key is no secret and is not among them."""
    keys = list(ApiKey.objects.filter(account=account, is_portal=False).order_by("-pk"))
    return shown_keys(keys, account=account, now=now)


def shown_keys(keys: Sequence[ApiKey], *, account: Account, now: datetime) -> list[ShownKey]:
    """One query for the use of all of them."""
    used = _calls(keys, account=account, today=quota_day(now, zone=account.time_zone))
    return [_shown(key, used[key.pk], now) for key in keys]


def _calls(keys: Sequence[ApiKey], *, account: Account, today: date) -> Mapping[int, list[int]]:
    first = today - timedelta(days=DAYS - 1)
    rows = (
        UsageDay.objects.filter(account=account, api_key__in=keys, day__gte=first, day__lte=today)
        .values_list("api_key_id", "day")
        .annotate(total=Sum("calls"))
    )
    used: defaultdict[int, list[int]] = defaultdict(lambda: [0] * DAYS)
    for key_id, day, total in rows:
        used[key_id][(day - first).days] = total
    return used


def _shown(key: ApiKey, calls: list[int], now: datetime) -> ShownKey:
    state = _state(key, now)
    return ShownKey(key=key, state=state, state_label=_STATES[state], calls=calls)


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.has_expired(now=now):
        return "expired"
    if key.replaced_by_id is not None:
        return "replaced"
    ends_soon = key.expires_at is not None and key.expires_at - now < ENDING_SOON
    return "expiring" if ends_soon else "active"
