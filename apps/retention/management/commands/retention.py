"""`manage.py retention report|run|verify`: what will be deleted when; delete it now; prove that it went."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Final

from django.core.management.base import BaseCommand, CommandError

from apps.core import clock
from apps.retention.selectors import count_due, find_overdue, lag_s
from apps.retention.services import sweep

AHEAD: Final = {
    "now": timedelta(),
    "within an hour": timedelta(hours=1),
    "within a day": timedelta(days=1),
    "within 30 days": timedelta(days=30),
}


class Command(BaseCommand):
    """`report` and `verify` only read; `run` may be repeated and interrupted."""

    help = "Tells what is due to be deleted, deletes it, or exits 1 if anything is older than it may be."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["report", "run", "verify"])

    def handle(self, *args: str, **options: str) -> None:
        {"report": self._report, "run": self._run, "verify": self._verify}[options["action"]]()

    def _report(self) -> None:
        now = clock.now()
        for when, ahead in AHEAD.items():
            counts = ", ".join(f"{count} {name}" for name, count in count_due(until=now + ahead).items())
            self.stdout.write(f"{when}: {counts}")
        self.stdout.write(f"lag: {lag_s(now=now):.0f} s")

    def _run(self) -> None:
        swept = sweep(now=clock.now())
        self.stdout.write(
            f"deleted {swept.images} images, the texts of {swept.jobs} jobs "
            f"and the bodies of {swept.deliveries} webhooks"
        )

    def _verify(self) -> None:
        found = list(find_overdue(now=clock.now()))
        for line in found:
            self.stdout.write(line)
        if found:
            raise CommandError("Something is older than it may be; see `manage.py retention run`.")
        self.stdout.write("nothing is older than it may be")
