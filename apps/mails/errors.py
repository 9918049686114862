"""Refusals about mail."""

from __future__ import annotations

from apps.core.errors import DomainError


class MailNotConfigured(DomainError):
    """There is no mail server to speak to."""

    code = "mail_not_configured"
    http_status = 409
    message = "No mail server is set: give DARKROOM_SMTP_URL, for example smtp://user:password@host:587."
