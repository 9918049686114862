"""Closing an account, opening it again within thirty days, and what is erased after that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.module_loading import import_string

from apps.accounts.choices import Role
from apps.accounts.errors import AccountClosed, RoleNotYours
from apps.accounts.mailing import queue_mail_to_roles
from apps.accounts.models import Account, Membership, User
from apps.accounts.roles import can
from apps.accounts.sign_up_models import Invitation
from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.core.db import require_transaction

GRACE: Final = timedelta(days=30)


def close_account(*, by: Membership, now: datetime) -> None:
    """Close the account of `by`, an owner: its keys stop at once, its plan ends, its people hear of it.

    Raises RoleNotYours and AccountClosed.
    """
    if not can(by, "account"):
        raise RoleNotYours
    account = by.account
    with transaction.atomic(durable=True):
        open_one = Account.objects.filter(pk=account.pk, closed_at=None)
        if open_one.update(closed_at=now, reopens_active=F("is_active"), is_active=False) != 1:
            raise AccountClosed(name=account.name, problem="is closed already")
        audit.record(
            "accounts.account.closed", actor=by.user.ref, subject=account.ref, account_id=account.pk, now=now
        )
        Invitation.objects.filter(account=account, accepted_at=None, revoked_at=None).update(revoked_at=now)
        for path in settings.ACCOUNT_CLOSED_HOOKS:
            import_string(path)(account=account, actor=by.user.ref, now=now)
        queue_mail_to_roles(
            account=account,
            roles=[Role.OWNER, Role.ADMIN, Role.BILLING],
            template="account_closed",
            context={
                "account": account.name,
                "by": by.user.email,
                "until": (now + GRACE).date(),
                "url": f"{settings.BASE_URL}/portal/account",
            },
            key=f"account_closed:{account.pk}:{now.isoformat()}",
            now=now,
        )


def reopen_account(*, user: User, account_id: int, now: datetime) -> Account:
    """Undo `close_account` within the time for it, as an owner. Its plan does not come back by itself.

    Raises RoleNotYours and AccountClosed.
    """
    membership = Membership.objects.select_related("account").filter(user=user, account_id=account_id).first()
    if membership is None or not can(membership, "account"):
        raise RoleNotYours
    account = membership.account
    with transaction.atomic(durable=True):
        # One that an operator turned down stays so, and one that an operator switched off comes back as that.
        closed = Account.objects.filter(pk=account.pk, awaits_approval=False, erased_at=None)
        if (
            closed.filter(closed_at__gt=now - GRACE).update(closed_at=None, is_active=F("reopens_active"))
            != 1
        ):
            raise AccountClosed(name=account.name, problem="cannot be opened again")
        audit.record(
            "accounts.account.reopened", actor=user.ref, subject=account.ref, account_id=account.pk, now=now
        )
    account.refresh_from_db()
    return account


def list_reopenable(*, user: User, now: datetime) -> list[Account]:
    """The closed accounts that `user` may open again."""
    owned = Account.objects.filter(memberships__user=user, memberships__role=Role.OWNER)
    return list(owned.filter(closed_at__gt=now - GRACE, awaits_approval=False, erased_at=None))


def erase_closed(*, now: datetime) -> int:
    """Erase names and addresses of accounts that have been closed for long enough; returns how many.

    Counts, money and the audit log stay, under a number instead of a name.
    """
    due = Account.objects.filter(closed_at__lte=now - GRACE, erased_at=None).order_by("pk")
    return sum(_erase(account_id, now) for account_id in due.values_list("pk", flat=True))


def _erase(account_id: int, now: datetime) -> bool:
    with transaction.atomic(durable=True):
        account = Account.objects.select_for_update().get(pk=account_id)
        if account.erased_at is not None or account.closed_at is None or account.closed_at > now - GRACE:
            return False
        users = list(User.objects.filter(memberships__account=account))
        account.name = account.slug = f"closed-{account.pk}"
        account.erased_at = now
        account.save(update_fields=["name", "slug", "erased_at"])
        Membership.objects.filter(account=account).delete()
        Invitation.objects.filter(account=account).delete()
        for user in users:
            erase_user_if_alone(user)
        audit.record(
            "accounts.account.erased", actor=SYSTEM, subject=account.ref, account_id=account.pk, now=now
        )
    return True


def erase_user_if_alone(user: User) -> None:
    """Make somebody who belongs to no account, and is no operator, a number who cannot sign in; a part."""
    require_transaction()
    if user.is_staff or Membership.objects.filter(user=user).exists():
        return
    for model in (EmailAddress, Authenticator, SocialAccount):
        model.objects.filter(user=user).delete()
    for session in UserSession.objects.filter(user=user):
        session.end()
    user.email, user.name, user.is_active = f"closed-{user.pk}@erased.invalid", "", False
    user.set_unusable_password()
    user.save(update_fields=["email", "name", "is_active", "password"])
