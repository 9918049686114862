"""`manage.py plans`: begins, stops and ends plans that are paid by invoice."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.models import Account
from apps.billing.invoices.starting import start_by_invoice
from apps.billing.money import format_usd
from apps.console.terminal import TERMINAL, account_by_slug, plan_by_code, refusals_as_command_errors
from apps.core import clock
from apps.plans.models import Subscription
from apps.plans.pausing import set_paused
from apps.plans.selectors import get_plan, get_subscription
from apps.plans.subscriptions import cancel_subscription, keep_plan


class Command(BaseCommand):
    """Whether one is past due follows from its invoices: `manage.py invoices paid` brings it back."""

    help = "Begins, pauses, resumes and ends an account's plan that is paid by invoice."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        start = acts.add_parser("start", help="begin a plan; its first month is on the next invoice")
        start.add_argument("--plan", required=True, help="code of the plan")
        end = acts.add_parser("end", help="end the plan with its period")
        end.add_argument("--now", action="store_true", help="end it at once; what was charged stays charged")
        others = (
            acts.add_parser("pause", help="charge nothing more, and give the default plan meanwhile"),
            acts.add_parser("resume", help="go on after a pause"),
            acts.add_parser("keep", help="take back an end or a change that has not come yet"),
        )
        for act in (start, end, *others):
            act.add_argument("--account", required=True, help="slug of the account")
            act.add_argument("--reason", required=True, help="why; for the audit log")
        show = acts.add_parser("show", help="which plan the account has, and by what")
        show.add_argument("--account", required=True, help="slug of the account")

    def handle(self, *args: Any, **options: Any) -> None:
        account = account_by_slug(options["account"])
        with refusals_as_command_errors():
            getattr(self, f"_{options['act']}")(account, options)
        self._say(account)

    def _start(self, account: Account, options: dict[str, Any]) -> None:
        start_by_invoice(
            account=account,
            plan=plan_by_code(options["plan"]),
            actor=TERMINAL,
            now=clock.now(),
            reason=options["reason"],
        )

    def _pause(self, account: Account, options: dict[str, Any]) -> None:
        set_paused(paused=True, **_asked(account, options))

    def _resume(self, account: Account, options: dict[str, Any]) -> None:
        set_paused(paused=False, **_asked(account, options))

    def _keep(self, account: Account, options: dict[str, Any]) -> None:
        keep_plan(**_asked(account, options))

    def _end(self, account: Account, options: dict[str, Any]) -> None:
        cancel_subscription(at_once=options["now"], **_asked(account, options))

    def _show(self, account: Account, options: dict[str, Any]) -> None:
        """What every act says at its end is all there is to say."""

    def _say(self, account: Account) -> None:
        row = get_subscription(account)
        self.stdout.write(f"{account.slug}: {get_plan(account).code}" + ("" if row is None else _line(row)))


def _asked(account: Account, options: dict[str, Any]) -> dict[str, Any]:
    """What every act on a subscription takes (Any: of several types)."""
    row = get_subscription(account)
    if row is None:
        raise CommandError(f"{account.slug} has no subscription: begin one with `manage.py plans start`")
    return {
        "subscription": row,
        "seen_revision": row.revision,
        "actor": TERMINAL,
        "now": clock.now(),
        "reason": options["reason"],
    }


def _line(row: Subscription) -> str:
    said = (
        f", {row.plan.code} by {row.get_source_display()} {row.state}, "
        f"{format_usd(row.price_micro)} a month, period until {row.period_end:%Y-%m-%d %H:%M} UTC"
    )
    if row.grace_ends_at is not None:
        said += f", grace until {row.grace_ends_at:%Y-%m-%d}"
    if row.cancel_at is not None:
        said += f", ends {row.cancel_at:%Y-%m-%d}"
    if row.next_plan is not None:
        said += f", then {row.next_plan.code}"
    return said
