"""`manage.py set_plan`: put an account on a plan."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.console.terminal import TERMINAL, account_by_slug, plan_by_code, refusals_as_command_errors
from apps.core import clock
from apps.plans.services import set_plan


class Command(BaseCommand):
    help = "Puts an account on a plan, from its next call on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", help="slug of the account")
        parser.add_argument("plan", help="code of the plan")

    def handle(self, *args: Any, **options: Any) -> None:
        account, plan = account_by_slug(options["account"]), plan_by_code(options["plan"])
        with refusals_as_command_errors():
            set_plan(account=account, plan=plan, actor=TERMINAL, now=clock.now())
        self.stdout.write(f"{account.slug}: {plan.code}")
