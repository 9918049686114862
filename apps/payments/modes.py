"""Stripe's two modes: what was bought in one is nothing in the other, so that they never serve together."""

from __future__ import annotations

from django.db.models import Sum

from apps.billing.money import format_usd
from apps.payments.choices import TOP_UPS
from apps.payments.errors import ModesMixed
from apps.payments.models import Payment, StripeCustomer


def has_other_mode(*, is_live: bool) -> bool:
    """Whether any account is a customer in the mode that is not meant."""
    return StripeCustomer.objects.filter(is_live=not is_live).exists()


def require_one_mode(*, is_live: bool) -> None:
    """Raises ModesMixed while customers of the other mode are here."""
    if has_other_mode(is_live=is_live):
        raise ModesMixed


def describe_other_mode(*, is_live: bool) -> str:
    """For operators: what is left of the other mode and what to do about it; "" if nothing is."""
    customers = StripeCustomer.objects.filter(is_live=not is_live)
    count = customers.count()
    if not count:
        return ""
    if not is_live:
        return (
            f"{count} accounts are customers in Stripe's live mode. With a test key their plans would be "
            "charged on and nobody here would hear of it: use another installation for tests."
        )
    paid = Payment.objects.filter(is_live=False, kind__in=TOP_UPS, paid_at__isnull=False)
    total = paid.aggregate(total=Sum("net_micro"))["total"] or 0
    return (
        f"{count} accounts are customers in Stripe's test mode, with top-ups of {format_usd(total)} that "
        "nobody paid. `manage.py stripe go-live` ends their test plans and takes that money out of their "
        "wallets; a live key works after that."
    )
