"""The page of webhooks: what was sent and what came back, tests, and the secret that signs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.models import Membership
from apps.core import clock
from apps.core.errors import Conflict, DomainError
from apps.portal.access import access_row, actor_of, page, say_refused
from apps.portal.once import require_first
from apps.portal.paging import page_of
from apps.portal.webhooks.forms import STATE_LABELS, TONES, DeliveryFilter, SecretForm, TestForm
from apps.webhooks.choices import DeliveryState
from apps.webhooks.models import Delivery
from apps.webhooks.secrets import list_secrets, rotate_secret
from apps.webhooks.selectors import list_deliveries, list_troubled_endpoints
from apps.webhooks.services import replay_delivery, replay_failed, send_test

PERMISSION: Final = "keys"
LIST: Final = "portal:webhooks"
DETAIL: Final = "portal:delivery"
MAX_ENDPOINTS: Final = 50
REPLAY_SINCE: Final = timedelta(days=1)


@require_GET
@page(permission=PERMISSION)
def webhooks(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Deliveries, newest first, beside what is known of endpoints and secrets."""
    account, now = membership.account, clock.now()
    filters = DeliveryFilter(request.GET)
    rows = list_deliveries(account=account)
    if filters.is_valid() and filters.cleaned_data["state"]:
        rows = rows.filter(state=filters.cleaned_data["state"])
    found = page_of(rows, request)
    context = {
        "filters": filters,
        "page": found,
        "deliveries": [_shown(row) for row in found.rows],
        "endpoints": list_troubled_endpoints(account=account)[:MAX_ENDPOINTS],
        "secrets": list_secrets(account=account, now=now),
        "test_form": TestForm(),
        "secret_form": SecretForm(),
        "failed": Delivery.objects.filter(
            account=account, state=DeliveryState.FAILED, ended_at__gte=now - REPLAY_SINCE
        ).count(),
        "now": now,
    }
    return render(request, "portal/webhooks/list.html", context)


@require_GET
@page(permission=PERMISSION)
def delivery_detail(request: HttpRequest, membership: Membership, event_id: str) -> HttpResponse:
    """One delivery: its body and each attempt."""
    row = _access(request, membership, event_id)
    context = {"shown": _shown(row), "delivery": row, "body": _body(row), "attempts": row.tries.all()}
    return render(request, "portal/webhooks/detail.html", context)


@require_POST
@page(permission=PERMISSION, back=LIST)
def resend(request: HttpRequest, membership: Membership, event_id: str) -> HttpResponse:
    """The same delivery again, with the same id, whatever became of it."""
    row = _access(request, membership, event_id)
    try:
        _require_new(request, membership)
        replay_delivery(delivery=row, actor=actor_of(membership), now=clock.now())
    except DomainError as error:
        say_refused(request, membership, error)
    else:
        messages.success(request, _("It is sent again now."))
    return redirect(DETAIL, event_id)


@require_POST
@page(permission=PERMISSION, back=LIST)
def resend_failed(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Everything that was given up within a day."""
    now = clock.now()
    count = replay_failed(
        account=membership.account, since=now - REPLAY_SINCE, actor=actor_of(membership), now=now
    )
    messages.success(request, _("Deliveries that are sent again: %(count)d.") % {"count": count})
    return redirect(LIST)


@require_POST
@page(permission=PERMISSION, back=LIST)
def test(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A message that tells of nothing."""
    form = TestForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Give the address that the test shall go to."))
        return redirect(LIST)
    _require_new(request, membership)
    delivery = send_test(
        account=membership.account, url=form.cleaned_data["url"], actor=actor_of(membership), now=clock.now()
    )
    messages.success(request, _("The test is on its way."))
    return redirect(DETAIL, delivery.event_id)


@require_POST
@page(permission=PERMISSION, back=LIST)
def secret(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The next secret, shown this once."""
    form = SecretForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose how long the old secret goes on signing."))
        return redirect(LIST)
    _require_new(request, membership)
    overlap = timedelta(seconds=form.cleaned_data["overlap_s"])
    made = rotate_secret(
        account=membership.account, overlap=overlap, actor=actor_of(membership), now=clock.now()
    )
    return render(request, "portal/webhooks/secret.html", {"secret": made.text, "has_overlap": bool(overlap)})


def _require_new(request: HttpRequest, membership: Membership) -> None:
    """Raises Conflict for a form that was sent before: a second message or secret would be a surprise."""
    try:
        require_first(request, account=membership.account, now=clock.now())
    except Conflict:
        raise Conflict(problem=_("This form was already sent. Open the page anew to do it again.")) from None


def _access(request: HttpRequest, membership: Membership, event_id: str) -> Delivery:
    return access_row(Delivery.objects.all(), request=request, account=membership.account, event_id=event_id)


def _shown(row: Delivery) -> dict[str, object]:
    state = DeliveryState(row.state)
    return {"row": row, "state_label": STATE_LABELS[state], "tone": TONES.get(state, "")}


def _body(row: Delivery) -> str:
    """As it is sent; "" before the first attempt and once it is forgotten."""
    if row.body is None:
        return ""
    text = bytes(row.body).decode("utf-8", errors="replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
