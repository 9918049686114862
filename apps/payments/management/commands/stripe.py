"""`manage.py stripe`: prices at Stripe, the connection, whether the books agree, and the end of test mode."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.audit.refs import SYSTEM
from apps.billing.money import format_usd
from apps.core import clock
from apps.core.errors import DomainError
from apps.payments.catalogue import sync_plans
from apps.payments.connection import open_api, try_connection
from apps.payments.going_live import leave_test_mode
from apps.payments.modes import describe_other_mode
from apps.payments.reconcile import reconcile


class Command(BaseCommand):
    help = "Speaks to Stripe: `sync-plans`, `test`, `reconcile`, `go-live`."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("sync-plans", help="Make products, prices and the meter for the plans on sale.")
        actions.add_parser("test", help="Say whether Stripe answers and its messages arrive.")
        books = actions.add_parser("reconcile", help="Compare our books with Stripe's.")
        books.add_argument("--day", type=date.fromisoformat, help="YYYY-MM-DD in UTC; yesterday if left out.")

        live = actions.add_parser("go-live", help="End Stripe's test mode, before a live key is entered.")
        live.add_argument("--yes", action="store_true", help="Do it; without, only say what there is.")

    def handle(
        self, *args: Any, action: str, day: date | None = None, yes: bool = False, **options: Any
    ) -> None:
        """Any: Django's own arguments."""
        try:
            if action == "sync-plans":
                self._sync_plans()
            elif action == "test":
                self.stdout.write(try_connection(actor=SYSTEM, now=clock.now()))
            elif action == "go-live":
                self._go_live(is_meant=yes)
            else:
                self._reconcile(day)
        except DomainError as refusal:
            raise CommandError(str(refusal)) from refusal

    def _sync_plans(self) -> None:
        for synced in sync_plans(open_api(), actor=SYSTEM, now=clock.now()):
            word = "made" if synced.is_new else "there"
            self.stdout.write(f"{synced.plan_code}: {synced.price_id} ({word})")

    def _go_live(self, *, is_meant: bool) -> None:
        """Exit status 1 while something of the test mode is left."""
        left = describe_other_mode(is_live=True)
        if not left:
            self.stdout.write("Nothing is left of Stripe's test mode: enter the live key in the console.")
            return
        if not is_meant:
            raise CommandError(f"{left} Nothing was changed; add --yes to do it.")
        rows = leave_test_mode(actor=SYSTEM, now=clock.now())
        for row in rows:
            wallet, forgiven = format_usd(row.wallet_micro), format_usd(row.forgiven_micro)
            done = f"{row.plans} plans ended, {wallet} out of the wallet, {forgiven} forgiven"
            self.stdout.write(f"{row.account}: {row.problem or done}")
        waiting = sum(bool(row.problem) for row in rows)
        if waiting:
            raise CommandError(f"{waiting} accounts are still to be done; run this again.")
        self.stdout.write("The test mode has ended: enter the live key in the console.")

    def _reconcile(self, day: date | None) -> None:
        """Exit status 1 when the books differ, so that a scheduler notices."""
        now = clock.now()
        report = reconcile(day=day or now.date() - timedelta(days=1), now=now)
        for line in report.lines:
            amounts = (line["ours_micro"], line["stripes_micro"], line["difference_micro"])
            ours, theirs, difference = map(format_usd, amounts)
            self.stdout.write(f"{line['name']}: {ours} here, {theirs} at Stripe, {difference} differs")
            for case in line["cases"]:
                self.stdout.write(f"  {case}")
        if report.difference_micro:
            raise CommandError(f"The books of {report.day} differ by {format_usd(report.difference_micro)}.")
        self.stdout.write(f"The books of {report.day} agree.")
