"""Speaks to the operator's mail server, named by one address: smtp://user:password@host:port?tls=…"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend

TIMEOUT_S: Final = 20
TLS_WORDS: Final = ("starttls", "ssl", "none")
DEFAULT_PORTS: Final = {"starttls": 587, "ssl": 465, "none": 25}


class BadSmtpUrl(ValueError):
    """The address of the mail server cannot be used; the text says why, without the password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where mail goes."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    tls: str
    """`starttls`, `ssl` (TLS from the first byte), or `none` (a relay on this machine or network)."""


def parse_smtp_url(url: str) -> SmtpServer:
    """Read `smtp://user:password@host:port?tls=starttls|ssl|none`, or `smtps://…`, which is tls=ssl.

    User, port and tls may be left out; without tls a named user gets starttls and others none.
    Raises BadSmtpUrl.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise BadSmtpUrl("must be smtp://user:password@host:port")
    query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    if set(query) - {"tls"}:
        raise BadSmtpUrl(f"knows tls=… alone, not {', '.join(sorted(set(query) - {'tls'}))}")
    usual = "ssl" if parts.scheme == "smtps" else "starttls" if parts.username else "none"
    tls = query.get("tls", [usual])[-1]
    if tls not in TLS_WORDS:
        raise BadSmtpUrl(f"has tls={tls}; it must be one of {', '.join(TLS_WORDS)}")
    try:
        port = parts.port or DEFAULT_PORTS[tls]
    except ValueError:
        raise BadSmtpUrl("has a port that is no number from 1 to 65535") from None
    return SmtpServer(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=tls,
    )


def send(
    server: SmtpServer, *, sender: str, to: Sequence[str], subject: str, text: str, html: str, message_id: str
) -> None:
    """Hand one mail to the server. Raises OSError, which smtplib's errors are, when it is not taken."""
    backend = EmailBackend(
        host=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        use_tls=server.tls == "starttls",
        use_ssl=server.tls == "ssl",
        timeout=TIMEOUT_S,
    )
    message = EmailMultiAlternatives(
        subject,
        text,
        sender,
        list(to),
        headers={"Message-ID": message_id, "Auto-Submitted": "auto-generated"},
    )
    if html:
        message.attach_alternative(html, "text/html")
    backend.send_messages([message])
