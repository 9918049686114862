"""The outbox against a mail server that really listens."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.template import TemplateDoesNotExist
from django.test import Client

from apps.accounts.choices import Role
from apps.accounts.mailing import queue_mail_to_roles
from apps.audit.models import AuditEvent
from apps.core.errors import Conflict
from apps.mails.checks import check_smtp_url
from apps.mails.choices import MailState
from apps.mails.models import Mail
from apps.mails.sending import send_due
from apps.mails.services import KEPT, prune, queue_mail, send_again
from apps.mails.smtp import BadSmtpUrl, parse_smtp_url
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.smtp_server import SmtpServer, running


@pytest.fixture
def server(settings: Any) -> Iterator[SmtpServer]:
    with running() as listening:
        settings.SMTP_URL = listening.url
        settings.MAIL_FROM = "Darkroom <images@example.com>"
        yield listening


def queue(clock: FrozenClock, *, key: str = "k1", subject: str = "Hello", text: str = "A text.") -> Mail:
    with transaction.atomic():
        queue_mail(
            to=["dora@example.org"],
            template="plain",
            context={"subject": subject, "text": text},
            key=key,
            account_id=None,
            now=clock.now(),
        )
    return Mail.objects.get(key=key)


def test_a_mail_arrives_as_text_and_as_a_page(db: None, clock: FrozenClock, server: SmtpServer) -> None:
    queue(clock, subject="O'Hara & Söhne", text="See <b>https://example.org/x?a=1&b=2</b>\n\nBye")
    assert send_due(now=clock.now()) == 1
    [message] = server.taken
    assert server.recipients == [["dora@example.org"]]
    assert (message["Subject"], message["From"]) == ("O'Hara & Söhne", "Darkroom <images@example.com>")
    text, page = (part.get_content().replace("\r\n", "\n") for part in message.iter_parts())
    assert text.startswith("See <b>https://example.org/x?a=1&b=2</b>\n\nBye")
    assert "&lt;b&gt;" in page and 'href="https://example.org/x?a=1&amp;b=2' in page
    mail = Mail.objects.get()
    assert (mail.state, mail.text, mail.html, mail.sent_at) == (MailState.SENT, "", "", clock.now())
    assert send_due(now=clock.now()) == 0


def test_the_same_key_is_one_mail(db: None, clock: FrozenClock) -> None:
    queue(clock)
    queue(clock)
    assert Mail.objects.count() == 1


def test_what_is_rolled_back_is_not_mailed(db: None, clock: FrozenClock) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        queue(clock)
        raise ZeroDivisionError
    assert Mail.objects.count() == 0


def test_a_template_that_is_missing_stops_the_act(db: None, clock: FrozenClock) -> None:
    with pytest.raises(TemplateDoesNotExist), transaction.atomic():
        queue_mail(to=["a@x.org"], template="none", context={}, key="k", account_id=None, now=clock.now())


def test_a_subject_brings_no_headers(db: None, clock: FrozenClock, server: SmtpServer) -> None:
    with transaction.atomic():
        queue_mail(
            to=["dora@example.org"],
            template="member_removed",
            context={"account": "x\r\nBcc: mallory@example.org"},
            key="k",
            account_id=None,
            now=clock.now(),
        )
    assert send_due(now=clock.now()) == 1
    assert server.recipients == [["dora@example.org"]] and server.taken[0]["Bcc"] is None


def test_a_refused_mail_is_tried_again_later_and_later_and_then_given_up(
    db: None, clock: FrozenClock, server: SmtpServer, settings: Any
) -> None:
    settings.MAIL_RETRY_S = (60, 300)
    server.refusal = "451 not now"
    mail = queue(clock)
    assert send_due(now=clock.now()) == 0
    mail.refresh_from_db()
    assert mail.state == MailState.QUEUED and "451" in mail.last_error
    assert (mail.due_at - clock.now()).total_seconds() == 60
    assert send_due(now=clock.now()) == 0
    mail.refresh_from_db()
    assert mail.attempts == 1
    clock.advance(seconds=60)
    send_due(now=clock.now())
    clock.advance(seconds=300)
    send_due(now=clock.now())
    mail.refresh_from_db()
    assert (mail.state, mail.attempts) == (MailState.DEAD, 3)
    server.refusal = None
    clock.advance(days=1)
    assert send_due(now=clock.now()) == 0


def test_an_operator_sends_a_dead_mail_again(
    cast: Cast, clock: FrozenClock, server: SmtpServer, settings: Any, client: Client
) -> None:
    settings.MAIL_RETRY_S = ()
    server.refusal = "550 no"
    mail = queue(clock)
    send_due(now=clock.now())
    client.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    assert "1 mail</a> could not be sent" in client.get("/console/").content.decode()
    server.refusal = None
    client.post("/console/mails/mail/", {"action": "send", "_selected_action": [mail.pk]})
    assert AuditEvent.objects.latest("id").name == "mails.mail.requeued"
    assert send_due(now=clock.now()) == 1
    mail.refresh_from_db()
    with pytest.raises(Conflict, match="went out"):
        send_again(mail=mail, actor=cast.otto.ref, now=clock.now())


def test_without_a_server_mails_wait_where_operators_read_them(
    cast: Cast, clock: FrozenClock, settings: Any, client: Client
) -> None:
    settings.SMTP_URL = ""
    mail = queue(clock, text="Open http://testserver/portal/join/abc <script>x</script>")
    assert send_due(now=clock.now()) == 0
    mail.refresh_from_db()
    assert mail.attempts == 0
    client.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    assert "1 mail waits." in client.get("/console/").content.decode()
    found = client.get(
        "/console/mails/mail/", {"q": "DORA@example", "state__exact": "queued"}
    ).content.decode()
    assert "dora@example.org" in found and "1 mail" in found
    page = client.get(f"/console/mails/mail/{mail.pk}/change/").content.decode()
    assert 'href="http://testserver/portal/join/abc"' in page and "<script>x" not in page


def test_mail_to_roles_goes_to_each_in_their_language(cast: Cast, clock: FrozenClock) -> None:
    cast.ben.language = "de"
    cast.ben.save()
    for _ in range(2):
        with transaction.atomic():
            queue_mail_to_roles(
                account=cast.account,
                roles=[Role.OWNER, Role.DEVELOPER],
                template="account_approved",
                context={"account": "Ada", "url": "http://testserver"},
                key="approved:1",
                now=clock.now(),
            )
    assert sorted((mail.to[0], mail.language) for mail in Mail.objects.all()) == [
        ("ada@example.com", "en"),
        ("ben@example.com", "de"),
    ]


def test_old_mails_are_forgotten_and_waiting_ones_kept(
    db: None, clock: FrozenClock, server: SmtpServer
) -> None:
    queue(clock, key="sent")
    send_due(now=clock.now())
    queue(clock, key="waiting")
    clock.move_to(clock.now() + KEPT)
    assert prune(now=clock.now()) == 0
    clock.advance(seconds=1)
    assert prune(now=clock.now()) == 1
    assert Mail.objects.get().key == "waiting"


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "password", "tls"),
    [
        ("smtp://mail.example.com", "mail.example.com", 25, "", "", "none"),
        ("smtp://u:p%40ss@mail.example.com", "mail.example.com", 587, "u", "p@ss", "starttls"),
        ("smtps://u:p@mail.example.com", "mail.example.com", 465, "u", "p", "ssl"),
        ("smtp://10.0.0.1:2525?tls=none", "10.0.0.1", 2525, "", "", "none"),
    ],
)
def test_a_servers_address_is_read(
    url: str, host: str, port: int, user: str, password: str, tls: str
) -> None:
    server = parse_smtp_url(url)
    assert (server.host, server.port, server.user, server.password, server.tls) == (
        host,
        port,
        user,
        password,
        tls,
    )
    assert "p@ss" not in repr(server)


@pytest.mark.parametrize(
    "url",
    ["mail.example.com:25", "http://x", "smtp://", "smtp://x?tls=maybe", "smtp://x?tsl=none", "smtp://x:0x"],
)
def test_a_malformed_address_is_named_by_the_preflight(url: str, settings: Any) -> None:
    with pytest.raises(BadSmtpUrl):
        parse_smtp_url(url)
    settings.SMTP_URL = url
    assert [error.id for error in check_smtp_url(None)] == ["mails.E001"]


def test_the_command_tries_the_server(db: None, server: SmtpServer, settings: Any) -> None:
    out = io.StringIO()
    call_command("mail", "test", "dora@example.org", stdout=out)
    assert "took a mail for dora@example.org" in out.getvalue() and len(server.taken) == 1
    server.refusal = "550 no such person"
    with pytest.raises(CommandError, match="no such person"):
        call_command("mail", "test", "dora@example.org")
    settings.SMTP_URL = ""
    with pytest.raises(CommandError, match="No mail server is set"):
        call_command("mail", "test", "dora@example.org")
