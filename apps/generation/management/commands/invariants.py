"""`manage.py invariants`: proves that nothing was lost, doubled or charged wrongly."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from apps.core.clock import now
from apps.generation.invariants import SAMPLE, count_jobs, find_violations


class Command(BaseCommand):
    """Read-only; safe on a live appliance."""

    help = "Checks jobs, charges, quota, files and audit against each other; exits 1 on any difference."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="print every violation, not the first few")

    def handle(self, *args: str, **options: bool) -> None:
        jobs = ", ".join(f"{count} {state}" for state, count in count_jobs().items())
        self.stdout.write(f"jobs: {jobs or 'none'}")
        total = 0
        for name, found in find_violations(now=now()).items():
            verdict = self.style.ERROR(f"{len(found)} violated") if found else self.style.SUCCESS("holds")
            self.stdout.write(f"  {name:<52} {verdict}")
            for line in found if options["all"] else found[:SAMPLE]:
                self.stdout.write(f"      {line}")
            total += len(found)
        if total:
            raise CommandError(f"{total} violations")
