"""`manage.py create_api_key`: a key for an account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.apikeys.choices import DEFAULT_SCOPES, Scope
from apps.apikeys.services import create_api_key
from apps.apikeys.terms import LOWEST, KeyTerms
from apps.console.terminal import TERMINAL, account_by_slug, plan_by_code, refusals_as_command_errors
from apps.core import clock
from apps.plans.services import set_plan


class Command(BaseCommand):
    help = "Issues an API key and prints it, the only time it is shown."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", required=True, help="slug of the account")
        parser.add_argument("--name", required=True, help="who or what uses the key")
        parser.add_argument("--plan", help="put the account on this plan as well")
        usual = ", ".join(DEFAULT_SCOPES)
        parser.add_argument(
            "--scope", action="append", choices=Scope.values, help=f"repeatable; default: {usual}"
        )
        parser.add_argument("--days", type=int, help="days until the key expires; default: never")
        parser.add_argument("--daily-cap", type=int, help="most calls a day with this key")
        parser.add_argument("--monthly-cap", type=int, help="most calls a calendar month with it")
        parser.add_argument("--queue-depth", type=int, help="most open requests of it; more are refused")
        parser.add_argument("--max-parallel", type=int, help="most of them that run at once; more wait")

    def handle(self, *args: Any, **options: Any) -> None:
        account = account_by_slug(options["account"])
        plan = plan_by_code(options["plan"]) if options["plan"] else None
        now = clock.now()
        with refusals_as_command_errors():
            if plan is not None:
                set_plan(account=account, plan=plan, actor=TERMINAL, now=now)
            terms = KeyTerms(
                name=options["name"],
                scopes=[Scope(scope) for scope in options["scope"] or DEFAULT_SCOPES],
                expires_at=None if options["days"] is None else now + timedelta(days=options["days"]),
                **{field: options[field] for field in LOWEST},
            )
            issued = create_api_key(account=account, terms=terms, actor=TERMINAL, now=now)
        self.stdout.write(issued.plaintext)
