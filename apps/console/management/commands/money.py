"""`manage.py money`: what an operator books by hand, and what an account has."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from apps.accounts.models import Account
from apps.billing.ledger import services as ledger
from apps.billing.ledger.selectors import balances, entries
from apps.billing.money import format_usd, parse_usd
from apps.console.terminal import TERMINAL, account_by_slug, refusals_as_command_errors
from apps.core import clock
from apps.core.errors import InvalidField
from apps.core.ids import random_token

KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
KEY_PREFIX: Final = "operator:"
"""Keeps keys that people choose apart from those that are made of Stripe's ids and of jobs."""
MADE_KEY_CHARS: Final = 16
MEMO_CHARS: Final = 200
SHOWN: Final = 10
ACTS: Final = (
    ("top-up", "money that came by another way than Stripe, into the wallet"),
    ("grant", "promotional credit"),
    ("adjust", "correct the wallet, up or down"),
)


class Command(BaseCommand):
    help = "Books money of an account by hand, each key once, and shows what the account has."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        for name, text in ACTS:
            act = acts.add_parser(name, help=text)
            act.add_argument("--account", required=True, help="slug of the account")
            act.add_argument("--amount", required=True, help="dollars, such as 12.34")
            act.add_argument("--key", help="the same key is booked once; made and printed if left out")
            act.add_argument("--memo", required=True, help="why; the account sees it")
            if name == "grant":
                act.add_argument("--expires", help="the last day, such as 2026-12-31; else never")
        show = acts.add_parser("show", help="balances, and the last entries")
        show.add_argument("--account", required=True, help="slug of the account")

    def handle(self, *args: Any, **options: Any) -> None:
        account = account_by_slug(options["account"])
        with refusals_as_command_errors():
            if options["act"] == "show":
                self._show(account)
            else:
                self._move(account, options)

    def _move(self, account: Account, options: dict[str, Any]) -> None:
        now = clock.now()
        act, key = options["act"], _key(options["key"])
        amount = _amount(options["amount"], is_signed=act == "adjust")
        shared = {
            "account_id": account.pk,
            "amount_micro": amount,
            "key": KEY_PREFIX + key,
            "memo": _memo(options["memo"]),
            "actor": TERMINAL,
            "now": now,
        }
        if act == "grant":
            shared["expires_at"] = _end(options["expires"], account, now)
        services: dict[str, Callable[..., bool]] = {
            "top-up": ledger.top_up,
            "grant": ledger.grant,
            "adjust": ledger.adjust,
        }
        with transaction.atomic(durable=True):
            is_new = services[act](**shared)
        if is_new:
            self.stdout.write(f"{account.slug}: {act} of {format_usd(amount)}, key {key}")
        else:
            self.stdout.write(f"{account.slug}: key {key} was booked before; nothing was moved")
        self._show_balances(account, now)

    def _show(self, account: Account) -> None:
        self._show_balances(account, clock.now())
        for line in entries(account, limit=SHOWN).lines:
            moved = ", ".join(f"{place.label} {format_usd(micro)}" for place, micro in line.changes.items())
            self.stdout.write(f"{line.at:%Y-%m-%d %H:%M} UTC  {line.title}: {moved}  {line.memo}".rstrip())

    def _show_balances(self, account: Account, now: datetime) -> None:
        found = balances(account, now)
        self.stdout.write(
            f"{account.slug}: wallet {format_usd(found.wallet_micro)}, "
            f"credit {format_usd(found.promo_micro)}, held {format_usd(found.held_micro)}, "
            f"to be invoiced {format_usd(found.receivable_micro)}, "
            f"invoiced {format_usd(found.invoiced_micro)}, "
            f"disputed {format_usd(found.disputed_micro)}"
        )


def _key(text: str | None) -> str:
    if text is None:
        return random_token(MADE_KEY_CHARS)
    if not KEY.fullmatch(text):
        raise InvalidField(
            field="--key",
            problem="must be up to 100 letters, digits and . _ : -, beginning with one of the former",
        )
    return text


def _amount(text: str, *, is_signed: bool) -> int:
    """Micro-dollars, not zero; below zero where that makes sense."""
    is_negative = is_signed and text.startswith("-")
    micro = parse_usd(text.removeprefix("-") if is_negative else text, field="--amount")
    if micro == 0:
        raise InvalidField(field="--amount", problem="must not be 0")
    return -micro if is_negative else micro


def _memo(text: str) -> str:
    memo = text.strip()
    if not 0 < len(memo) <= MEMO_CHARS:
        raise InvalidField(field="--memo", problem=f"must have 1 to {MEMO_CHARS} characters")
    return memo


def _end(text: str | None, account: Account, now: datetime) -> datetime | None:
    """The end of the day in the account's time zone; None is never."""
    if text is None:
        return None
    try:
        ends = clock.day_end(date.fromisoformat(text), zone=account.time_zone)
    except (ValueError, OverflowError):
        raise InvalidField(field="--expires", problem="must be a day such as 2026-12-31") from None
    if ends <= now:
        raise InvalidField(field="--expires", problem="must not be over")
    return ends
