"""Whether the settings for mail can be used."""

from __future__ import annotations

from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from apps.mails.smtp import BadSmtpUrl, parse_smtp_url


@register("darkroom")
def check_smtp_url(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """A malformed address would be noticed with the first mail only."""
    if not settings.SMTP_URL:
        return []
    try:
        parse_smtp_url(settings.SMTP_URL)
    except (BadSmtpUrl, ValueError) as error:
        return [
            Error(
                f"DARKROOM_SMTP_URL {error}.",
                hint="For example smtp://user:password@mail.example.com:587; special characters as %XX.",
                id="mails.E001",
            )
        ]
    return []


@register("darkroom", deploy=True)
def check_there_is_a_server(app_configs: Sequence[AppConfig] | None, **kwargs: object) -> list[CheckMessage]:
    """Without a server, operators pass on each link by hand."""
    if settings.SMTP_URL:
        return []
    return [
        Warning(
            "DARKROOM_SMTP_URL is not set: mails wait in the console's outbox.",
            hint="Set it to the mail server, or pass the links on from /console/mails/mail/.",
            id="mails.W001",
        )
    ]
