"""What users say about themselves."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import transaction

from apps.accounts.choices import Language
from apps.accounts.models import User
from apps.audit import services as audit
from apps.core.errors import InvalidField


def change_profile(*, user: User, name: str, language: str, time_zone: str, now: datetime) -> None:
    """Replace a user's name, language and time zone. Raises InvalidField."""
    if language not in Language.values:
        raise InvalidField(field="language", problem=f"must be one of {', '.join(Language.values)}")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidField(
            field="time_zone", problem=f"must be an IANA time zone, not {time_zone!r}"
        ) from None
    user.name, user.language, user.time_zone = name.strip()[:100], language, time_zone
    with transaction.atomic(durable=True):
        user.save(update_fields=["name", "language", "time_zone"])
        audit.record("accounts.user.profile_changed", actor=user.ref, subject=user.ref, now=now)
