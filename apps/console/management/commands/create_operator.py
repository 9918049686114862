"""`manage.py create_operator`: somebody who may use the console."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.accounts.services import create_operator
from apps.console.terminal import TERMINAL, refusals_as_command_errors
from apps.core import clock


class Command(BaseCommand):
    help = "Creates an operator with a generated password, which is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: Any, **options: Any) -> None:
        # A password on the command line would end up in the shell's history.
        with refusals_as_command_errors():
            operator = create_operator(email=options["email"], password=None, actor=TERMINAL, now=clock.now())
        self.stdout.write(f"{operator.user.email} {operator.password}")
