"""Filling the wallet, cards, paying later, refunds."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import Membership
from apps.billing.money import parse_usd
from apps.core import clock
from apps.payments import services as payments
from apps.payments.choices import CheckoutState
from apps.payments.models import Payment
from apps.portal.access import access_row, actor_of, form_token, page
from apps.portal.billing.leaving import return_url, return_urls, to_stripe


@require_POST
@page(permission="billing", back="portal:billing")
def top_up(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """To Stripe, to pay an amount into the wallet."""
    token = form_token(request)
    success, given_up = return_urls(token)
    way_on = payments.start_top_up(
        account=membership.account,
        amount_micro=parse_usd(request.POST.get("amount", "").strip()),
        actor=actor_of(membership),
        token=token,
        success_url=success,
        cancel_url=given_up,
        now=clock.now(),
    )
    return to_stripe(request, way_on)


@require_POST
@page(permission="billing", back="portal:billing")
def auto_top_up(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """When the wallet fills itself, and by how much; sent twice it is the same wish."""
    is_on = request.POST.get("is_on") == "on"
    payments.set_auto_top_up(
        account=membership.account,
        is_on=is_on,
        threshold_micro=parse_usd(request.POST.get("threshold", "").strip(), field="threshold"),
        amount_micro=parse_usd(request.POST.get("amount", "").strip()),
        monthly_cap_micro=parse_usd(request.POST.get("monthly_cap", "").strip(), field="monthly_cap"),
        actor=actor_of(membership),
        now=clock.now(),
    )
    messages.success(
        request, _("The wallet fills itself now.") if is_on else _("The wallet no longer fills itself.")
    )
    return redirect("portal:billing")


@require_POST
@page(permission="billing", back="portal:billing")
def card(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """To Stripe, to put a card on file: paying as you go begins with it."""
    token = form_token(request)
    success, given_up = return_urls(token)
    way_on = payments.start_card_setup(
        account=membership.account,
        actor=actor_of(membership),
        token=token,
        success_url=success,
        cancel_url=given_up,
        now=clock.now(),
    )
    return to_stripe(request, way_on)


@require_POST
@page(permission="billing", back="portal:billing")
def stripe_portal(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """To Stripe's page for cards, addresses and receipts."""
    way_on = payments.open_portal(account=membership.account, return_url=return_url(), now=clock.now())
    return to_stripe(request, way_on)


@require_POST
@page(permission="billing", back="portal:billing")
def stop_paying_later(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """No more usage on credit."""
    payments.stop_pay_as_you_go(account=membership.account, actor=actor_of(membership), now=clock.now())
    messages.success(
        request, _("Nothing more is made on credit. What there is comes with the month's invoice.")
    )
    return redirect("portal:billing")


@require_POST
@page(permission="billing", back="portal:billing")
def refund(request: HttpRequest, membership: Membership, payment_id: int) -> HttpResponseBase:
    """Give a recent payment back. Raises Http404 for a payment that is not the account's."""
    payment = access_row(Payment.objects.all(), request=request, account=membership.account, pk=payment_id)
    payments.refund_top_up(
        account=membership.account,
        payment_id=payment.pk,
        amount_micro=None,
        actor=actor_of(membership),
        token=form_token(request),
        now=clock.now(),
    )
    messages.success(request, _("The refund is on its way; banks take a few days."))
    return redirect("portal:billing")


@require_safe
@page(permission="billing", back="portal:billing")
def returned(request: HttpRequest, membership: Membership, token: str) -> HttpResponseBase:
    """Back from Stripe. Asks there how it ended, so that the page does not wait for the message.

    Raises Http404 for what can be no token.
    """
    if "\0" in token:
        raise Http404
    state = payments.settle_checkout(account=membership.account, token=token, now=clock.now())
    if state is CheckoutState.COMPLETE:
        messages.success(request, _("Thank you, that is paid."))
    elif state is CheckoutState.EXPIRED:
        messages.warning(request, _("That visit has ended without a payment."))
    elif state is not None:
        messages.info(request, _("The payment is still being confirmed; it appears here when it is."))
    return redirect("portal:billing")
