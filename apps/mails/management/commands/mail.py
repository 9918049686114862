"""`manage.py mail test ADDRESS` asks the mail server to take a mail; `mail send` sends what is due."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.clock import now
from apps.core.errors import DomainError
from apps.mails.sending import send_due, send_test
from apps.mails.smtp import BadSmtpUrl


class Command(BaseCommand):
    """Says in one line what happened."""

    help = "Sends a test mail to an address, or everything that is due."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        acts.add_parser("test").add_argument("address")
        acts.add_parser("send")

    def handle(self, *args: str, **options: str) -> None:
        try:
            if options["act"] == "send":
                self.stdout.write(f"{send_due(now=now())} sent")
                return
            send_test(address=options["address"])
        except (DomainError, BadSmtpUrl) as error:
            raise CommandError(f"DARKROOM_SMTP_URL: {error}") from error
        except OSError as error:
            raise CommandError(f"The mail server did not take it: {type(error).__name__}: {error}") from error
        self.stdout.write(f"The mail server took a mail for {options['address']}.")
