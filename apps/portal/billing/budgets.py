"""How much may be spent a month."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from apps.accounts.models import Account, Membership
from apps.apikeys.models import ApiKey
from apps.billing.money import parse_usd
from apps.core import clock
from apps.core.errors import InvalidField
from apps.portal.access import access_row, actor_of, page, read_id
from apps.quotas.budgets import remove_budget, set_budget
from apps.quotas.models import Budget


@require_POST
@page(permission="billing", back="portal:billing")
def save(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Set the budget of the account or of one of its keys; sent twice it is the same budget."""
    set_budget(
        account=membership.account,
        api_key=_key(request, membership.account),
        limit_micro=parse_usd(request.POST.get("limit", "").strip(), field="limit"),
        is_hard=request.POST.get("is_hard") == "on",
        webhook_url=request.POST.get("webhook_url", "").strip(),
        actor=actor_of(membership),
        now=clock.now(),
    )
    messages.success(request, _("The budget is set."))
    return redirect("portal:billing")


def _key(request: HttpRequest, account: Account) -> ApiKey | None:
    """None for the account as a whole. Raises Http404 for a key that is not the account's."""
    text = request.POST.get("key", "")
    if not text:
        return None
    key_id = read_id(text)
    if key_id is None:
        raise InvalidField(field="key", problem="must be one of the account's keys")
    return access_row(ApiKey.objects.all(), request=request, account=account, pk=key_id)


@require_POST
@page(permission="billing", back="portal:billing")
def remove(request: HttpRequest, membership: Membership, budget_id: int) -> HttpResponseBase:
    """Spend without this limit. Raises Http404 for a budget that is not the account's, or is gone."""
    budget = access_row(Budget.objects.all(), request=request, account=membership.account, pk=budget_id)
    remove_budget(
        account=membership.account, budget_id=budget.pk, actor=actor_of(membership), now=clock.now()
    )
    messages.success(request, _("The budget is removed."))
    return redirect("portal:billing")
