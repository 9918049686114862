"""What the dashboard shows: images of the last days, how keys fare, what a new account has still to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.artifacts.links import thumbnail_path
from apps.artifacts.models import Artifact
from apps.billing.models import UsageDay
from apps.generation.choices import JobState
from apps.generation.models import GenerationJob

LAST_IMAGES: Final = 8
SHOWN_KEYS: Final = 5
HEALTH_WINDOW: Final = timedelta(hours=24)
EXPIRES_SOON: Final = timedelta(days=14)
BAD_SHARE: Final = 0.2
"""Of a day's calls with a key that failed: above it the key is marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One of the last images."""

    address: str
    job_id: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHealth:
    """A key and what a person should know of it."""

    key: ApiKey
    ended: int
    """Jobs of the last day that came to an end."""
    failed: int
    word: str | Promise
    tone: str
    """Of the tag: good, warn, bad or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a new account has done."""

    has_key: bool
    has_called: bool

    @property
    def is_done(self) -> bool:
        return self.has_key and self.has_called


def last_images(*, account: Account, now: datetime) -> list[Picture]:
    """The newest images that are still kept; one query."""
    rows = Artifact.objects.filter(account=account, expires_at__gt=now).order_by("-id")[:LAST_IMAGES]
    return [
        Picture(
            address=thumbnail_path(group=row.group, index=row.index, extension=row.extension, now=now),
            job_id=row.job_id,
            width=row.width,
            height=row.height,
        )
        for row in rows
    ]


def key_health(*, account: Account, now: datetime) -> list[KeyHealth]:
    """The keys in use, those used last first; two queries."""
    rows = ApiKey.objects.filter(account=account, revoked_at=None, is_portal=False)
    keys = sorted(rows, key=lambda key: key.last_used_at or key.created_at, reverse=True)[:SHOWN_KEYS]
    recent = GenerationJob.objects.filter(api_key__in=keys, finished_at__gt=now - HEALTH_WINDOW)
    counts = recent.values_list("api_key_id").annotate(
        ended=Count("pk"), failed=Count("pk", filter=Q(state=JobState.FAILED))
    )
    by_key = {key_id: (ended, failed) for key_id, ended, failed in counts}
    return [_health(key, *by_key.get(key.pk, (0, 0)), now=now) for key in keys]


def _health(key: ApiKey, ended: int, failed: int, *, now: datetime) -> KeyHealth:
    word, tone = _verdict(key, ended, failed, now=now)
    return KeyHealth(key=key, ended=ended, failed=failed, word=word, tone=tone)


def _verdict(key: ApiKey, ended: int, failed: int, *, now: datetime) -> tuple[str | Promise, str]:
    if key.has_expired(now=now):
        return _("expired"), "bad"
    if ended and failed / ended > BAD_SHARE:
        return _("many failures"), "bad"
    if key.expires_at is not None and key.expires_at - now < EXPIRES_SOON:
        return _("expires soon"), "warn"
    if key.last_used_at is None:
        return _("never used"), ""
    return _("healthy"), "good"


def start_of(*, account: Account) -> Start:
    """How far a new account has come; two queries."""
    return Start(
        has_key=ApiKey.objects.filter(account=account, is_portal=False).exists(),
        has_called=UsageDay.objects.filter(account=account).exists(),
    )
