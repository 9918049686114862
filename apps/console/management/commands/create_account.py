"""`manage.py create_account`: open an account."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.text import slugify

from apps.accounts.services import create_account
from apps.console.terminal import TERMINAL, plan_by_code, refusals_as_command_errors
from apps.core import clock
from apps.plans.services import set_plan


class Command(BaseCommand):
    help = "Opens an account, on the default plan unless --plan names another."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--slug", help="default: made from the name")
        parser.add_argument("--plan", help="code of a plan, e.g. internal")
        parser.add_argument(
            "--time-zone", default="UTC", help="IANA name; daily limits reset at its midnight"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        plan = plan_by_code(options["plan"]) if options["plan"] else None
        now = clock.now()
        with refusals_as_command_errors():
            account = create_account(
                name=options["name"],
                slug=options["slug"] or slugify(options["name"]),
                time_zone=options["time_zone"],
                actor=TERMINAL,
                now=now,
            )
            if plan is not None:
                set_plan(account=account, plan=plan, actor=TERMINAL, now=now)
        self.stdout.write(account.slug)
