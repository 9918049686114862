"""What a new user gets: the account that invited them, that of their domain, or one of their own."""

from __future__ import annotations

from datetime import datetime

from apps.accounts import invitations
from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.accounts.openings import get_sign_up_settings, open_account
from apps.accounts.seats import lock_account, require_seat
from apps.accounts.sign_up_models import Invitation, Removal, SignInDomain
from apps.audit import services as audit
from apps.core.db import require_transaction


def settle_in(*, user: User, invitation: Invitation | None, account_name: str, now: datetime) -> Account:
    """Give somebody new their account; a part.

    Raises InvalidField, InvitationUnusable and SeatsTaken.
    """
    require_transaction()
    audit.record("accounts.user.signed_up", actor=user.ref, subject=user.ref, now=now)
    if invitation is not None and invitation.account is not None:
        return invitations.join(invitation=invitation, user=user, now=now).account
    if invitation is not None:
        invitations.use(invitation=invitation, user=user, now=now)
    awaits = invitation is None and get_sign_up_settings().approval_required
    return open_account(owner=user, name=account_name, awaits_approval=awaits, actor=user.ref, now=now)


def join_by_domain(*, user: User, domain: SignInDomain, now: datetime) -> Membership | None:
    """Make a user whose address the domain's provider has proven a member of the domain's account; a part.

    None when the domain has no account that is open, or its team has removed them. Raises SeatsTaken.
    """
    require_transaction()
    if domain.account is None or domain.account.closed_at is not None:
        return None
    account = lock_account(domain.account)
    present = Membership.objects.filter(account=account, user=user).first()
    if present is not None:
        return present
    if Removal.objects.filter(account=account, user=user).exists():
        return None
    require_seat(account, with_invitations=False)
    membership = Membership.objects.create(
        account=account, user=user, role=Role(domain.default_role), created_at=now
    )
    audit.record(
        "accounts.member.joined",
        actor=user.ref,
        subject=membership.ref,
        account_id=account.pk,
        data={"role": domain.default_role, "domain": domain.domain},
        now=now,
    )
    return membership
