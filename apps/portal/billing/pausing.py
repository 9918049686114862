"""Letting a plan rest, and going on with it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.accounts.models import Membership
from apps.core import clock
from apps.payments import services as payments
from apps.plans.choices import SubscriptionSource
from apps.plans.pausing import set_paused
from apps.portal.access import actor_of, form_token, page
from apps.portal.billing.changes import require_changeable
from apps.portal.billing.plans import read_revision


@require_POST
@page(permission="billing", back="portal:billing")
def pause(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """No charges, and the free plan, until it is resumed."""
    _set(request, membership, is_paused=True)
    messages.success(request, _("Your plan rests. Nothing is charged for it until you resume it."))
    return redirect("portal:billing")


@require_POST
@page(permission="billing", back="portal:billing")
def resume(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """The end of the rest."""
    _set(request, membership, is_paused=False)
    messages.success(request, _("Your plan goes on as it is."))
    return redirect("portal:billing")


def _set(request: HttpRequest, membership: Membership, *, is_paused: bool) -> None:
    account, actor, now = membership.account, actor_of(membership), clock.now()
    subscription = require_changeable(account)
    token, revision = form_token(request), read_revision(request)
    if subscription.source == SubscriptionSource.STRIPE:
        act = payments.pause_plan if is_paused else payments.resume_plan
        act(account=account, actor=actor, token=token, now=now)
        return
    set_paused(subscription=subscription, paused=is_paused, seen_revision=revision, actor=actor, now=now)
