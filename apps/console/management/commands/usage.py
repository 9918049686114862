"""`manage.py usage`: a month's usage as a signed file, and the proof that such a file is unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.billing.invoices.months import parse_month
from apps.billing.money import format_usd
from apps.billing.usage_export import Exported, export_usage, load_signing_key, verify_usage
from apps.console.terminal import refusals_as_command_errors


class Command(BaseCommand):
    help = "Exports a month's usage, signed by this installation's key, and verifies such exports."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        export = acts.add_parser("export", help="write a month's usage events")
        export.add_argument("--month", required=True, help="such as 2026-02")
        export.add_argument("--out", type=Path, required=True)
        verify = acts.add_parser("verify", help="prove that a file is as it was exported")
        verify.add_argument("file", type=Path)
        verify.add_argument("--public-key", help="as its installation printed it; else any key will do")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_as_command_errors():
            self._export(options) if options["act"] == "export" else self._verify(options)

    def _export(self, options: dict[str, Any]) -> None:
        start, end = parse_month(options["month"], field="--month")
        key = load_signing_key(settings.HOME_DIR / "secrets" / "usage_export.key")
        part = options["out"].with_name(f".{options['out'].name}.part")
        with part.open("wb") as out:
            found = export_usage(start=start, end=end, key=key, out=out)
        # Whole or not at all: a file cut short by a full disk must not look like an export.
        part.replace(options["out"])
        self._say(str(options["out"]), found)

    def _verify(self, options: dict[str, Any]) -> None:
        try:
            with options["file"].open("rb") as source:
                found = verify_usage(source, public_key=options["public_key"])
        except OSError as fault:
            raise CommandError(f"{options['file']} cannot be read: {fault.strerror}") from None
        self._say(f"{options['file']} is unchanged", found)

    def _say(self, what: str, found: Exported) -> None:
        self.stdout.write(f"{what}: {found.events} events, {format_usd(found.price_micro)}")
        self.stdout.write(f"sha256 {found.sha256}")
        self.stdout.write(f"public key {found.public_key}")
