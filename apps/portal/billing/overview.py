"""What an account pays, has and owes, on one page; and every entry of its ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.models import Account, Membership
from apps.apikeys.models import ApiKey
from apps.billing.invoices.selectors import list_invoices
from apps.billing.ledger.selectors import balances, entries
from apps.billing.models import PayAsYouGo
from apps.core import clock
from apps.core.errors import InvalidField
from apps.generation.devices import kept_devices
from apps.payments import services as payments
from apps.payments.errors import NotRefundable
from apps.payments.models import Payment
from apps.plans.entitlements import Unlimited
from apps.plans.selectors import get_entitlements, get_plan, get_subscription, price_of
from apps.portal.access import page, read_id
from apps.quotas.selectors import get_month, list_budgets

SHOWN_INVOICES: Final = 12
SHOWN_PAYMENTS: Final = 12
AMOUNTS: Final = (10, 25, 50, 100)
"""Offered for a top-up, dollars."""


@require_safe
@page(permission="billing")
def billing(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Plan, wallet, cards, invoices, budgets."""
    account = membership.account
    now = clock.now()
    keys = ApiKey.objects.filter(account=account, revoked_at=None, is_portal=False).order_by("name")
    budgets = {"budgets": list_budgets(account=account, now=now), "keys": keys}
    context = _plan(account, now) | _money(account, now) | budgets
    return render(request, "portal/billing/overview.html", context)


def _plan(account: Account, now: datetime) -> dict[str, object]:
    plan = get_plan(account, now=now)
    may = get_entitlements(account, now=now)
    month = get_month(account=account, entitlements=may, now=now)
    subscription = get_subscription(account)
    included = month.included
    return {
        "plan": plan,
        "price_micro": price_of(account=account, plan=plan, now=now),
        "subscription": subscription,
        "service_level": may.sla,
        "devices": kept_devices(account=account, now=now),
        "month": month,
        "included_percent": None
        if isinstance(included.limit, Unlimited) or not included.limit
        else min(100, included.used * 100 // included.limit),
    }


def _money(account: Account, now: datetime) -> dict[str, object]:
    state = payments.payments_state()
    return {
        "payments": state,
        "balances": balances(account, now),
        "amounts": AMOUNTS,
        "pays_later": PayAsYouGo.objects.filter(account=account, is_allowed=True).exists(),
        "cards": list(payments.list_cards(account)),
        "auto": payments.find_auto_top_up(account),
        "invoices": list(payments.list_invoices(account)[:SHOWN_INVOICES]),
        "own_invoices": list(list_invoices(account)[:SHOWN_INVOICES]),
        "received": [
            {"payment": payment, "is_refundable": state.is_configured and _is_refundable(payment, now)}
            for payment in payments.list_payments(account)[:SHOWN_PAYMENTS]
        ],
    }


def _is_refundable(payment: Payment, now: datetime) -> bool:
    try:
        payments.require_refundable(payment, now=now)
    except NotRefundable:
        return False
    return True


@require_safe
@page(permission="billing")
def statement(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The ledger as the account sees it, newest first."""
    text = request.GET.get("before", "")
    before = read_id(text)
    if text and before is None:
        raise InvalidField(field="before", problem="must be the number of an entry")
    shown = entries(membership.account, before=before)
    return render(request, "portal/billing/statement.html", {"statement": shown})
