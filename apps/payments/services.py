"""What pages and other apps ask of payments: one door, the rooms are behind it.

Money is in micro-USD. Each raises PaymentsNotConfigured without a key, PaymentsUnavailable when Stripe does
not answer, CardDeclined and PaymentRefused when it says no; after any of these nothing has changed. `token`
is made when the page is shown, 8 to 64 characters: sent twice, it is one wish. A page that sends the browser
to a Redirect needs its host in the Content-Security-Policy's form-action: browsers apply it to redirects.
"""

from __future__ import annotations

from typing import TypeVar

from django.db.models import QuerySet

from apps.accounts.models import Account
from apps.payments.auto_top_up import set_auto_top_up
from apps.payments.checkout import (
    MAX_TOP_UP_MICRO,
    MIN_TOP_UP_MICRO,
    open_portal,
    start_card_setup,
    start_top_up,
)
from apps.payments.connection import payments_state
from apps.payments.discounts import redeem_coupon
from apps.payments.models import AutoTopUp, Card, Payment, StripeInvoice
from apps.payments.pay_as_you_go import stop_pay_as_you_go
from apps.payments.plan_changes import cancel_plan, change_plan, end_plan_now, pause_plan, resume_plan
from apps.payments.plan_checkout import start_plan_checkout
from apps.payments.refunds import refund_payment_by_customer as refund_top_up
from apps.payments.refunds import require_refundable
from apps.payments.results import PaymentsState, PlanChange, Redirect
from apps.payments.returning import settle_checkout
from apps.payments.subscribed import find_open_subscription

Row = TypeVar("Row", Payment, StripeInvoice)

__all__ = [
    "MAX_TOP_UP_MICRO",
    "MIN_TOP_UP_MICRO",
    "PaymentsState",
    "PlanChange",
    "Redirect",
    "cancel_plan",
    "change_plan",
    "end_plan_now",
    "find_auto_top_up",
    "find_open_subscription",
    "list_cards",
    "list_invoices",
    "list_payments",
    "open_portal",
    "pause_plan",
    "payments_state",
    "redeem_coupon",
    "refund_top_up",
    "require_refundable",
    "resume_plan",
    "set_auto_top_up",
    "settle_checkout",
    "start_card_setup",
    "start_plan_checkout",
    "start_top_up",
    "stop_pay_as_you_go",
]


def list_invoices(account: Account) -> QuerySet[StripeInvoice]:
    """Invoices by Stripe, newest first, without drafts; ours are in apps.billing.invoices."""
    rows = StripeInvoice.objects.filter(account=account).exclude(status="draft")
    return _that_count(rows).order_by("-issued_at", "-pk")


def list_cards(account: Account) -> QuerySet[Card]:
    """Cards on file, the one that is charged first. Stripe is not asked."""
    return Card.objects.filter(customer__account=account)


def list_payments(account: Account) -> QuerySet[Payment]:
    """Payments that came, newest first, with what was given back; `require_refundable` says which can be."""
    rows = Payment.objects.filter(account=account, paid_at__isnull=False)
    return _that_count(rows).order_by("-created_at", "-pk")


def _that_count(rows: QuerySet[Row]) -> QuerySet[Row]:
    """In live mode, without those of the test mode: nobody paid them."""
    return rows.exclude(is_live=False) if payments_state().is_live else rows


def find_auto_top_up(account: Account) -> AutoTopUp | None:
    """The account's wish; None if it never had one."""
    return AutoTopUp.objects.filter(account=account).first()
