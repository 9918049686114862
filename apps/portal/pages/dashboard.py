"""The first page after signing in."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.models import Account, Membership
from apps.accounts.roles import can
from apps.billing.ledger.selectors import balances
from apps.billing.usage import usage_report
from apps.core import clock
from apps.plans.entitlements import Limit, Unlimited
from apps.plans.selectors import get_entitlements, get_plan
from apps.portal import dashboard_reads as reads
from apps.portal.access import page
from apps.portal.charts import Bar, bars
from apps.portal.usage_reads import Range, every_day
from apps.quotas.selectors import get_month, get_usage

CHART_DAYS = 30


@require_safe
@page()
def dashboard(request: HttpRequest, membership: Membership) -> HttpResponse:
    """How the account stands today."""
    account = membership.account
    now = clock.now()
    may = get_entitlements(account, now=now)
    today = clock.quota_day(now, zone=account.time_zone)
    context: dict[str, object] = {
        "account": account,
        "plan": get_plan(account, now=now),
        "usage": (usage := get_usage(account=account, entitlements=may, now=now)),
        "percent": percent_of(usage.used + usage.reserved, usage.limit),
        "month": get_month(account=account, entitlements=may, now=now),
        "spent": usage_report(account=account, first=today.replace(day=1), last=today).total,
        "bars": _bars(account, Range(first=today - timedelta(days=CHART_DAYS - 1), last=today)),
        "start": reads.start_of(account=account),
        "base_url": settings.BASE_URL,
    }
    if can(membership, "jobs"):
        context["pictures"] = reads.last_images(account=account, now=now)
    if can(membership, "keys"):
        context["keys"] = reads.key_health(account=account, now=now)
    if can(membership, "billing"):
        context["balances"] = balances(account, now)
    return render(request, "portal/dashboard.html", context)


def _bars(account: Account, within: Range) -> list[Bar]:
    report = usage_report(account=account, first=within.first, last=within.last)
    return bars([(day, sums.calls) for day, sums in every_day(report, within)])


def percent_of(taken: int, limit: Limit) -> int | None:
    """How much of a limit is gone, 0 to 100; None where there is no limit."""
    if isinstance(limit, Unlimited):
        return None
    return 100 if limit == 0 else min(100, round(100 * taken / limit))
