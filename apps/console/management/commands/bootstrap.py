"""`manage.py bootstrap`: everything between an empty database and the first request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.console.bootstrap import BootstrapReport, bootstrap
from apps.console.terminal import refusals_as_command_errors
from apps.core import clock


class Command(BaseCommand):
    help = "Creates missing plans, the starter checkpoint, the operator and an API key. May run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="report in one line of JSON")
        parser.add_argument(
            "--key-file", type=Path, help="keep the key here; no new one is made while it holds a valid key"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_as_command_errors():
            report = bootstrap(key_file=options["key_file"], now=clock.now())
        self.stdout.write(json.dumps(report) if options["json"] else as_text(report))


def as_text(report: BootstrapReport) -> str:
    """The report for a person."""
    password = report["operator_password"] or "unchanged"
    limit = report["calls_per_day"]
    return "\n".join(
        [
            f"Operator   {report['operator_email']}, password: {password}",
            f"API key    {report['api_key'] or 'unchanged'}",
            f"Plan       {report['plan']}, {'unlimited' if limit is None else limit} calls a day",
            f"Model      {report['model_id'] or 'the starter model is missing: run its training first'}",
        ]
    )
