"""Usage as charts, as tables of the same numbers, and to take away."""

from __future__ import annotations

from datetime import date
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.formats import date_format
from django.views.decorators.http import require_safe

from apps.accounts.models import Account, Membership
from apps.billing.money import MICRO_PER_USD
from apps.billing.usage import Totals, usage_report
from apps.core import clock
from apps.portal.access import page
from apps.portal.usage.asked import BY, Asked, grouping_choices, range_choices, read_asked
from apps.portal.usage.exporting import csv_of, export_rows
from apps.portal.usage.named import Named, named
from apps.portal.usage_reads import calls_by_day, every_day, groups_of

CHARTED_GROUPS: Final = 6
"""As many colours as the charts have; what is smaller is in the table."""
MEGAPIXEL: Final = 1_000_000


@require_safe
@page()
def usage(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Charts and tables of a range of days."""
    account = membership.account
    asked = _asked(request, account)
    report = usage_report(account=account, first=asked.within.first, last=asked.within.last)
    days = every_day(report, asked.within)
    groups = named(groups_of(report, asked.grouping), grouping=asked.grouping, account=account)
    context = {
        "asked": asked,
        "ranges": range_choices(asked),
        "groupings": grouping_choices(asked),
        "group_title": BY[asked.grouping],
        "total": report.total,
        "megapixels": report.total.pixels // MEGAPIXEL,
        "days": list(reversed(days)),
        "groups": groups,
        "chart": _chart(account, asked, groups[:CHARTED_GROUPS], days),
    }
    return render(request, "portal/usage.html", context)


def _asked(request: HttpRequest, account: Account) -> Asked:
    return read_asked(request.GET, today=clock.quota_day(clock.now(), zone=account.time_zone))


def _chart(
    account: Account, asked: Asked, groups: list[Named], days: list[tuple[date, Totals]]
) -> dict[str, object]:
    """What the script draws."""
    calls = calls_by_day(
        account=account,
        within=asked.within,
        grouping=asked.grouping,
        values=[group.value for group in groups],
    )
    return {
        "days": [date_format(day, "MONTH_DAY_FORMAT") for day, _sums in days],
        "series": [{"name": group.name, "calls": calls[group.value]} for group in groups],
        "spend": [sums.price_micro / MICRO_PER_USD for _day, sums in days],
    }


@require_safe
@page()
def export(request: HttpRequest, membership: Membership, extension: str) -> HttpResponse:
    """Every day of the range as finely as it is kept. Raises Http404 for what is neither csv nor json."""
    account = membership.account
    if extension not in ("csv", "json"):
        raise Http404
    within = _asked(request, account).within
    rows = export_rows(account=account, within=within)
    if extension == "csv":
        response = HttpResponse(csv_of(rows), content_type="text/csv; charset=utf-8")
    else:
        response = JsonResponse({"account": account.slug, "usage": rows})
    name = f"usage-{account.slug}-{within.first}-{within.last}.{extension}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
