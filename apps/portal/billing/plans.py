"""Choosing, changing, ending and keeping a plan; coupons."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.models import Membership
from apps.core import clock
from apps.core.errors import InvalidField
from apps.payments.results import Redirect
from apps.payments.services import payments_state, redeem_coupon
from apps.plans.selectors import get_plan, list_offered, price_of
from apps.portal.access import actor_of, form_token, page, read_id
from apps.portal.billing.changes import end, propose, take, take_back
from apps.portal.billing.leaving import return_urls, to_stripe
from apps.portal.plan_words import list_offers, offer_of


@require_safe
@page(permission="billing")
def plans(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Every plan that can be chosen, beside the one the account has."""
    account = membership.account
    now = clock.now()
    current = get_plan(account, now=now)
    context = {
        "offers": list_offers(),
        "current": current,
        # Not that of the offer: who has an earlier version, or a contract, pays another price.
        "current_price_micro": price_of(account=account, plan=current, now=now),
        "payments": payments_state(),
    }
    return render(request, "portal/billing/plans.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(permission="billing", back="portal:plans")
def choose(request: HttpRequest, membership: Membership, code: str) -> HttpResponseBase:
    """What changing to the plan costs now and later; and, once confirmed, the change.

    Raises Http404 for a plan that is not offered.
    """
    plan = next((each for each in list_offered() if each.code == code), None)
    if plan is None:
        raise Http404
    account = membership.account
    now = clock.now()
    proposal = propose(account=account, plan=plan, now=now)
    if request.method != "POST":
        context = {"proposal": proposal, "offer": offer_of(plan), "current": get_plan(account, now=now)}
        return render(request, "portal/billing/choose.html", context | {"payments": payments_state()})
    token = form_token(request)
    outcome = take(
        proposal,
        account=account,
        seen_revision=read_revision(request),
        actor=actor_of(membership),
        token=token,
        urls=return_urls(token),
        promotion_code=request.POST.get("promotion_code", "").strip(),
        now=now,
    )
    if isinstance(outcome, Redirect):
        return to_stripe(request, outcome)
    if not outcome.is_now:
        day = date_format(outcome.effective_at, "DATE_FORMAT")
        messages.success(
            request, _("Your plan changes to %(plan)s on %(day)s.") % {"plan": plan.name, "day": day}
        )
    else:
        messages.success(request, _("You are on the plan %(plan)s now.") % {"plan": plan.name})
    return redirect("portal:billing")


def read_revision(request: HttpRequest) -> int:
    """Of the subscription when the form was made; 0 where there was none."""
    revision = read_id(request.POST.get("revision", "0"))
    if revision is None:
        raise InvalidField(field="revision", problem="is missing: open the page anew and try again")
    return revision


@require_POST
@page(permission="billing", back="portal:billing")
def cancel(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """End the plan with its period."""
    end(
        account=membership.account,
        seen_revision=read_revision(request),
        actor=actor_of(membership),
        token=form_token(request),
        now=clock.now(),
    )
    messages.success(request, _("Your plan ends with its period. Until then you can take that back."))
    return redirect("portal:billing")


@require_POST
@page(permission="billing", back="portal:billing")
def keep(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Take back an end or a downgrade that has not come yet."""
    take_back(
        account=membership.account,
        seen_revision=read_revision(request),
        actor=actor_of(membership),
        token=form_token(request),
        now=clock.now(),
    )
    messages.success(request, _("Your plan goes on as it is."))
    return redirect("portal:billing")


@require_POST
@page(permission="billing", back="portal:billing")
def coupon(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Use a coupon; once an account, so that a second click changes nothing."""
    code = request.POST.get("code", "").strip()
    if not code:
        raise InvalidField(field="code", problem="is missing")
    redeem_coupon(account=membership.account, code=code, actor=actor_of(membership), now=clock.now())
    messages.success(request, _("The coupon is yours."))
    return redirect("portal:billing")
