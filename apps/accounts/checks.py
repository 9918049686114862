"""Whether the settings for signing in can be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from apps.accounts.passwords import BreachedFileUnreadable, breach_count


@register("darkroom")
def check_breached_passwords(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """A file that cannot be read would stop every sign-up."""
    if not settings.BREACHED_PASSWORDS:
        return []
    try:
        breach_count("", path=Path(settings.BREACHED_PASSWORDS))
    except BreachedFileUnreadable as error:
        return [
            Error(
                str(error),
                hint="Fetch it once with haveibeenpwned's downloader, in one file, and copy it here.",
                id="accounts.E001",
            )
        ]
    return []
