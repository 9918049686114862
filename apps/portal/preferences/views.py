"""The account's settings."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from apps.accounts.models import Account, Membership
from apps.accounts.services import change_account
from apps.core import clock
from apps.plans.models import RetentionChoice
from apps.plans.retention import choose_retention
from apps.plans.selectors import get_entitlements
from apps.portal.access import actor_of, page
from apps.portal.preferences.forms import SettingsForm


@require_http_methods(["GET", "HEAD", "POST"])
@page(permission="settings", back="portal:settings")
def settings_page(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Shows them, and changes them; sent twice they are the same settings."""
    account = membership.account
    chosen = RetentionChoice.objects.filter(account=account).values_list("days", flat=True).first()
    offered = get_entitlements(account, now=clock.now()).retention_days
    data = request.POST if request.method == "POST" else None
    form = SettingsForm(data, account=account, offered=offered, chosen=chosen)
    if form.is_valid():
        _save(form, account, membership, chosen)
        messages.success(request, _("The settings are saved."))
        return redirect("portal:settings")
    return render(request, "portal/settings.html", {"form": form}, status=422 if form.is_bound else 200)


def _save(form: SettingsForm, account: Account, membership: Membership, chosen: int | None) -> None:
    values = form.cleaned_data
    now = clock.now()
    change_account(
        account=account,
        name=values["name"],
        time_zone=values["time_zone"],
        is_active=None,
        safety=values["safety"],
        actor=actor_of(membership),
        now=now,
    )
    if values["retention_days"] != chosen:
        choose_retention(account=account, days=values["retention_days"], actor=actor_of(membership), now=now)
