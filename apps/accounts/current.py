"""Which of their accounts a signed-in user is looking at: kept in the session, proven by the membership."""

from __future__ import annotations

from typing import Final, NoReturn

from django.db import transaction
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import Http404, HttpRequest

from apps.accounts.models import Membership, User
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core import clock

SESSION_KEY: Final = "account_id"
CACHE_NAME: Final = "_current_membership"


def current_membership(request: HttpRequest) -> Membership | None:
    """The membership this request acts under, with its account and user; None when there is none.

    The chosen account's, or the oldest of the user's if that choice has ended. One query, once a request.
    """
    if not hasattr(request, CACHE_NAME):
        setattr(request, CACHE_NAME, _find(request))
    membership: Membership | None = getattr(request, CACHE_NAME)
    return membership


def _find(request: HttpRequest) -> Membership | None:
    user = request.user
    if not isinstance(user, User):
        return None
    chosen = Case(
        When(account_id=request.session.get(SESSION_KEY), then=Value(0)),
        default=Value(1),
        output_field=IntegerField(),
    )
    found = _open_memberships(user)
    return found.order_by(chosen, "created_at", "pk").first()


def _open_memberships(user: User) -> QuerySet[Membership]:
    """Of accounts that can be looked at: not of those that await approval or were closed."""
    memberships = Membership.objects.filter(
        user=user, account__awaits_approval=False, account__closed_at=None
    )
    return memberships.select_related("account", "user")


def refuse_foreign(user: User, subject: Ref) -> NoReturn:
    """Raises Http404, audited, for what is not the user's, or is nothing."""
    with transaction.atomic(durable=True):
        audit.record("portal.foreign_id", actor=user.ref, subject=subject, now=clock.now())
    raise Http404


def refuse_account(user: User, account_id: int) -> NoReturn:
    """Raises Http404, audited, for an account that is not the user's, or is none."""
    refuse_foreign(user, Ref(kind="account", id=account_id, label=f"account {account_id}"))


def switch_account(request: HttpRequest, account_id: int) -> Membership:
    """Look at another of one's accounts from now on. Raises Http404, audited, for one that is not theirs."""
    user = request.user
    if not isinstance(user, User):
        raise Http404
    membership = _open_memberships(user).filter(account_id=account_id).first()
    if membership is None:
        refuse_account(user, account_id)
    request.session[SESSION_KEY] = account_id
    setattr(request, CACHE_NAME, membership)
    return membership
