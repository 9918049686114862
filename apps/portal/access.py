"""Who may see a page, and the only way from an id in an address to a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode

from apps.accounts.current import current_membership
from apps.accounts.errors import AccountClosed
from apps.accounts.models import Account, Membership, User
from apps.accounts.roles import Permission, can
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core import clock
from apps.core.errors import DomainError, InvalidField
from apps.portal.refusals.auditing import record_refused
from apps.portal.refusals.saying import error_text

P = ParamSpec("P")
Row = TypeVar("Row", bound=models.Model)
View = Callable[Concatenate[HttpRequest, Membership, P], HttpResponseBase]
Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

SIGN_IN = "/accounts/login/"
NO_ACCOUNT = "portal:no_account"
NO_CHOICE = "UTC"
MAX_ID: Final = 2**63 - 1
# What may still be done for an account that an operator has switched off: settle what is owed, and close it.
STILL_ALLOWED: Final[frozenset[Permission]] = frozenset({"billing", "account"})


def page(
    *, permission: Permission = "view", back: str | None = None, is_stopping: bool = False
) -> Callable[[View[P]], Page[P]]:
    """A page of the portal: `view(request, membership, ...)` for a member who has `permission`.

    Others are sent to sign in, or refused with 403, audited. A DomainError in answer to a form becomes a
    message on the page named `back`; without it, and for reads, a page of its own. Nothing is cached by
    browsers: after signing out, the way back shows nothing. Times are shown in the member's zone. Of an
    account that an operator has switched off everything can be read, and `STILL_ALLOWED` done.
    """

    def decorate(view: View[P]) -> Page[P]:
        @wraps(view)
        def shown(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect(f"{SIGN_IN}?{urlencode({'next': request.get_full_path()})}")
            membership = current_membership(request)
            if membership is None:
                return redirect(NO_ACCOUNT)
            require_permission(request, membership, permission)
            is_act = request.method not in ("GET", "HEAD")
            with timezone.override(_zone(membership)):
                try:
                    if is_act and not is_stopping and permission not in STILL_ALLOWED:
                        _require_active(membership.account)
                    response = view(request, membership, *args, **kwargs)
                except DomainError as error:
                    response = _refused(request, membership, error, back=back)
            if isinstance(response, HttpResponse):
                add_never_cache_headers(response)
            return response

        return shown

    return decorate


def _require_active(account: Account) -> None:
    if not account.is_active:
        raise AccountClosed(name=account.name, problem="is switched off: ask the operator of this server")


def _zone(membership: Membership) -> ZoneInfo:
    """In which times are shown: the member's own, or the account's for who has not chosen one."""
    own, accounts = membership.user.time_zone, membership.account.time_zone
    return ZoneInfo(accounts if own == NO_CHOICE else own)


def require_permission(request: HttpRequest, membership: Membership, permission: Permission) -> None:
    """Raises PermissionDenied, audited, for a member whose role does not include it."""
    if can(membership, permission):
        return
    record_refused(request, membership=membership, code="role_missing")
    raise PermissionDenied


def _refused(
    request: HttpRequest, membership: Membership, error: DomainError, *, back: str | None
) -> HttpResponseBase:
    if request.method == "POST":
        if back is not None:
            say_refused(request, membership, error)
            return redirect(back)
        record_refused(request, membership=membership, code=error.code)
    return render(request, "portal/refused.html", {"problem": error_text(error)}, status=error.http_status)


def say_refused(request: HttpRequest, membership: Membership, error: DomainError) -> None:
    """An act that was refused: a message on the next page, and an audit event."""
    record_refused(request, membership=membership, code=error.code)
    messages.error(request, error_text(error))


def actor_of(membership: Membership) -> Ref:
    """How the audit log names who acts through the portal."""
    return membership.user.ref


def access_row(
    rows: models.QuerySet[Row],
    *,
    request: HttpRequest,
    account: Account,
    account_field: str = "account",
    **lookup: Any,
) -> Row:
    """The one row of `account` that `lookup` names.

    Raises Http404 for what does not exist and for what is another account's: the two look the same from
    outside, but the second leaves an audit event `portal.foreign_id`.
    """
    row = rows.filter(**{account_field: account}, **lookup).first()
    if row is not None:
        return row
    if rows.filter(**lookup).exists():
        _record_foreign(rows.model, request=request, account=account, lookup=lookup)
    raise Http404


def _record_foreign(
    model: type[models.Model], *, request: HttpRequest, account: Account, lookup: dict[str, Any]
) -> None:
    user = request.user
    assert isinstance(user, User)  # pages are for members
    named = ", ".join(str(value) for value in lookup.values())
    with transaction.atomic():
        audit.record(
            "portal.foreign_id",
            actor=user.ref,
            subject=Ref(kind=model._meta.model_name or "row", id=named, label=named),
            account_id=account.pk,
            data={"path": request.path, "method": request.method or ""},
            now=clock.now(),
        )


def read_id(text: str) -> int | None:
    """The number of a row in a form or an address; None for what cannot be one."""
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if is_number and int(text) <= MAX_ID else None


def form_token(request: HttpRequest) -> str:
    """The token that was made when the form was rendered: the same form sent twice is one act.

    Raises InvalidField when it is missing or made up.
    """
    try:
        return str(UUID(request.POST.get("token", "")))
    except ValueError:
        raise InvalidField(field="token", problem="is missing: open the page anew and try again") from None
