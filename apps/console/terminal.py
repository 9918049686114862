"""What commands have in common: the terminal as an actor, refusals as command errors, rows by their names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.core.errors import DomainError
from apps.plans.models import Plan

TERMINAL = Ref(kind="command", id=None, label="manage.py")
"""Whoever has a shell on the machine."""


@contextmanager
def refusals_as_command_errors() -> Iterator[None]:
    """Show a refusal as one line instead of a traceback."""
    try:
        yield
    except DomainError as refusal:
        raise CommandError(str(refusal)) from None


def account_by_slug(slug: str) -> Account:
    try:
        return Account.objects.get(slug=slug)
    except Account.DoesNotExist:
        known = ", ".join(Account.objects.values_list("slug", flat=True)[:20]) or "none"
        raise CommandError(f"there is no account {slug!r}; known: {known}") from None


def plan_by_code(code: str) -> Plan:
    try:
        return Plan.objects.get(code=code)
    except Plan.DoesNotExist:
        known = ", ".join(Plan.objects.values_list("code", flat=True)) or "none; run bootstrap first"
        raise CommandError(f"there is no plan {code!r}; known: {known}") from None
