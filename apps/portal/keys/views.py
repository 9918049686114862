"""The page of API keys: made, replaced and ended; a key's text is shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts.models import Membership
from apps.apikeys.models import ApiKey
from apps.apikeys.services import (
    IssuedKey,
    create_api_key,
    edit_api_key,
    revoke_api_key,
    rotate_api_key,
)
from apps.core import clock
from apps.core.errors import DomainError, InvalidField
from apps.portal.access import access_row, actor_of, page
from apps.portal.keys.forms import SCOPE_LABELS, KeyForm, RotateForm
from apps.portal.keys.rows import list_keys, shown_keys
from apps.portal.once import require_first
from apps.portal.refusals.auditing import record_refused
from apps.portal.refusals.saying import error_text

PERMISSION: Final = "keys"
LIST: Final = "portal:keys"


@require_GET
@page(permission=PERMISSION)
def keys(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Every key of the account, those that work first."""
    rows = list_keys(account=membership.account, now=clock.now())
    context = {
        "usable": [row for row in rows if row.is_usable],
        "ended": [row for row in rows if not row.is_usable],
    }
    return render(request, "portal/keys/list.html", context)


@require_http_methods(["GET", "POST"])
@page(permission=PERMISSION, back=LIST)
def new_key(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The form of a new key, and the one page that shows its text."""
    account, now = membership.account, clock.now()
    form = KeyForm(request.POST or None, account=account)
    if request.method == "POST" and form.is_valid():
        require_first(request, account=account, now=now)
        try:
            issued = create_api_key(account=account, terms=form.terms(), actor=actor_of(membership), now=now)
        except DomainError as error:
            record_refused(request, membership=membership, code=error.code)
            _add_error(form, error)
        else:
            return _show_once(request, issued)
    return render(request, "portal/keys/new.html", {"form": form})


@require_GET
@page(permission=PERMISSION)
def key_detail(request: HttpRequest, membership: Membership, prefix: str) -> HttpResponse:
    """One key with its limits and its use."""
    key = _access(request, membership, prefix)
    [row] = shown_keys([key], account=membership.account, now=clock.now())
    labels = {scope.value: label for scope, label in SCOPE_LABELS.items()}
    context = {
        "row": row,
        "key": key,
        "scopes": [labels.get(scope, scope) for scope in key.scopes],
        "rotate_form": RotateForm(),
    }
    return render(request, "portal/keys/detail.html", context)


@require_http_methods(["GET", "POST"])
@page(permission=PERMISSION, back=LIST)
def edit(request: HttpRequest, membership: Membership, prefix: str) -> HttpResponse:
    """Another name, other rights and limits; programs that use the key go on."""
    key = _access(request, membership, prefix)
    form = KeyForm(request.POST or None, account=membership.account, key=key)
    if request.method == "POST" and form.is_valid():
        try:
            edit_api_key(key=key, terms=form.terms(), actor=actor_of(membership), now=clock.now())
        except InvalidField as error:
            _add_error(form, error)
        else:
            messages.success(request, _("The key is changed; it holds from its next call on."))
            return redirect("portal:key", prefix)
    return render(request, "portal/keys/edit.html", {"form": form, "key": key})


def _add_error(form: KeyForm, error: DomainError) -> None:
    field = {"expires_at": "expires_on"}.get(
        str(error.data.get("field", "")), str(error.data.get("field", ""))
    )
    form.add_error(field if field in form.fields else None, error_text(error))


@require_POST
@page(permission=PERMISSION, back=LIST)
def rotate(request: HttpRequest, membership: Membership, prefix: str) -> HttpResponse:
    """A successor with the same rights."""
    now = clock.now()
    key = _access(request, membership, prefix)
    form = RotateForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose how long the old key goes on working."))
        return redirect("portal:key", prefix)
    require_first(request, account=membership.account, now=now)
    overlap = timedelta(seconds=form.cleaned_data["overlap_s"])
    issued = rotate_api_key(key=key, overlap=overlap, actor=actor_of(membership), now=now)
    return _show_once(request, issued, replaced=key)


@require_POST
@page(permission=PERMISSION, back=LIST, is_stopping=True)
def revoke(request: HttpRequest, membership: Membership, prefix: str) -> HttpResponse:
    """The end of a key, at once."""
    key = _access(request, membership, prefix)
    revoke_api_key(key=key, actor=actor_of(membership), now=clock.now())
    messages.success(request, _("The key %(name)s is revoked.") % {"name": key.name})
    return redirect(LIST)


def _access(request: HttpRequest, membership: Membership, prefix: str) -> ApiKey:
    rows = ApiKey.objects.filter(is_portal=False).select_related("account")
    return access_row(rows, request=request, account=membership.account, prefix=prefix)


def _show_once(request: HttpRequest, issued: IssuedKey, replaced: ApiKey | None = None) -> HttpResponse:
    """Not behind a redirect: the text would have to be kept somewhere on the way."""
    return render(request, "portal/keys/issued.html", {"issued": issued, "replaced": replaced})
