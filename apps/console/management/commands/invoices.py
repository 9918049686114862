"""`manage.py invoices`: writes, sends and settles invoices for accounts that pay by bank transfer."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.accounts.models import Account
from apps.billing.invoices.errors import NothingToInvoice
from apps.billing.invoices.models import Invoice, InvoiceTerms
from apps.billing.invoices.months import parse_month
from apps.billing.invoices.pdf import render_pdf
from apps.billing.invoices.services import draft_invoice, issue_invoice, mark_paid, void_invoice
from apps.billing.money import format_usd
from apps.console.terminal import TERMINAL, account_by_slug, refusals_as_command_errors
from apps.core import clock


class Command(BaseCommand):
    help = "Writes, shows, settles and takes back invoices for accounts with invoice terms."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        issue = acts.add_parser("issue", help="one invoice an account, for a month that is over")
        issue.add_argument("--month", required=True, help="such as 2026-02")
        issue.add_argument("--account", help="slug; else every account with invoice terms")
        issue.add_argument("--draft", action="store_true", help="write them without number, to be looked at")
        for act, text in (("send", "give a draft its number"), ("void", "take an unpaid one back")):
            one = acts.add_parser(act, help=text)
            one.add_argument("invoice", help="number, or the id of a draft")
        paid = acts.add_parser("paid", help="the money for one has come")
        paid.add_argument("invoice")
        paid.add_argument("--reference", default="", help="of the transfer")
        pdf = acts.add_parser("pdf", help="write one as PDF")
        pdf.add_argument("invoice")
        pdf.add_argument("--out", type=Path, required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        with refusals_as_command_errors():
            getattr(self, f"_{options['act']}")(options)

    def _issue(self, options: dict[str, Any]) -> None:
        start, end = parse_month(options["month"], field="--month")
        if end >= clock.now().date():
            raise CommandError(f"{options['month']} is not over; what is used until then would be missing")
        if options["account"]:
            accounts = [account_by_slug(options["account"])]
        else:
            terms = InvoiceTerms.objects.select_related("account").order_by("account__slug")
            accounts = [each.account for each in terms]
        for account in accounts:
            self._issue_for(account, start, end, is_draft=options["draft"])

    def _issue_for(self, account: Account, start: date, end: date, *, is_draft: bool) -> None:
        try:
            invoice = draft_invoice(account=account, start=start, end=end, actor=TERMINAL, now=clock.now())
        except NothingToInvoice as nothing:
            self.stdout.write(str(nothing))
            return
        if not is_draft:
            invoice = issue_invoice(invoice_id=invoice.pk, actor=TERMINAL, now=clock.now())
        self._say(invoice, account.slug)

    def _send(self, options: dict[str, Any]) -> None:
        found = _find(options["invoice"])
        invoice = issue_invoice(invoice_id=found.pk, actor=TERMINAL, now=clock.now())
        self._say(invoice, found.account.slug)

    def _void(self, options: dict[str, Any]) -> None:
        found = _find(options["invoice"])
        note = void_invoice(invoice_id=found.pk, actor=TERMINAL, now=clock.now())
        self.stdout.write(f"{found} is void" + (f"; its credit note is {note}" if note else ""))

    def _paid(self, options: dict[str, Any]) -> None:
        found = _find(options["invoice"])
        mark_paid(invoice_id=found.pk, reference=options["reference"], actor=TERMINAL, now=clock.now())
        self.stdout.write(f"{found} is paid")

    def _pdf(self, options: dict[str, Any]) -> None:
        found = _find(options["invoice"])
        options["out"].write_bytes(render_pdf(found))
        self.stdout.write(f"{found}: {options['out']}")

    def _say(self, invoice: Invoice, slug: str) -> None:
        self.stdout.write(f"{slug}: {invoice}, {format_usd(invoice.total_micro)}")


def _find(name: str) -> Invoice:
    rows = Invoice.objects.select_related("account", "corrects")
    invoice = rows.filter(pk=int(name)).first() if name.isdecimal() else rows.filter(number=name).first()
    if invoice is None:
        raise CommandError(f"there is no invoice {name!r}: give its number, or the id of a draft")
    return invoice
