"""Who stays, who goes and who may do what in an account. Each act locks the account's row first.

That lock is what keeps the last owner: two owners who leave at the same moment do so one after the other.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction

from apps.accounts.choices import Role
from apps.accounts.errors import LastOwner, RoleNotYours
from apps.accounts.mailing import queue_mail_to_roles
from apps.accounts.models import Account, Membership
from apps.accounts.seats import lock_account
from apps.accounts.sign_up_models import Removal
from apps.audit import services as audit
from apps.core.errors import NotFound
from apps.mails.services import queue_mail


def change_role(*, by: Membership, member_id: int, role: Role, now: datetime) -> None:
    """Give a colleague of `by` another role. Raises NotFound, RoleNotYours and LastOwner."""
    with transaction.atomic(durable=True):
        lock_account(by.account)
        member = _get_member(by.account, member_id)
        if member.role == role:
            return
        _require_may_touch(by, member, role)
        if member.role == Role.OWNER:
            _require_other_owner(member)
        before, member.role = member.role, role
        member.save(update_fields=["role"])
        _record("accounts.member.role_changed", by, member, now, before=before, after=role.value)


def remove_member(*, by: Membership, member_id: int, now: datetime) -> None:
    """Take a colleague out of the account; they hear of it. Raises NotFound, RoleNotYours and LastOwner."""
    with transaction.atomic(durable=True):
        account = lock_account(by.account)
        member = _get_member(account, member_id)
        _require_may_touch(by, member, None)
        if member.role == Role.OWNER:
            _require_other_owner(member)
        _record("accounts.member.removed", by, member, now, role=member.role)
        queue_mail(
            to=[member.user.email],
            template="member_removed",
            context={"account": account.name},
            key=f"member_removed:{member.pk}",
            account_id=account.pk,
            language=member.user.language,
            now=now,
        )
        if member.pk != by.pk:
            Removal.objects.get_or_create(account=account, user=member.user, defaults={"removed_at": now})
        member.delete()


def leave(*, membership: Membership, now: datetime) -> None:
    """Leave an account. Raises LastOwner, and NotFound when one has left already."""
    with transaction.atomic(durable=True):
        account = lock_account(membership.account)
        member = _get_member(account, membership.pk)
        if member.role == Role.OWNER:
            _require_other_owner(member)
        _record("accounts.member.left", member, member, now, role=member.role)
        member.delete()


def transfer_ownership(*, by: Membership, member_id: int, now: datetime) -> None:
    """Make a colleague owner and `by` an administrator. Raises NotFound and RoleNotYours."""
    with transaction.atomic(durable=True):
        account = lock_account(by.account)
        giver, heir = _get_member(account, by.pk), _get_member(account, member_id)
        if giver.role != Role.OWNER or giver == heir:
            raise RoleNotYours
        heir.role, giver.role = Role.OWNER, Role.ADMIN
        heir.save(update_fields=["role"])
        giver.save(update_fields=["role"])
        _record("accounts.account.ownership_transferred", by, heir, now, before=giver.user.email)
        queue_mail_to_roles(
            account=account,
            roles=[Role.OWNER],
            template="ownership_transferred",
            context={
                "account": account.name,
                "giver": giver.user.email,
                "heir": heir.user.email,
                "url": f"{settings.BASE_URL}/portal/team",
            },
            key=f"ownership_transferred:{heir.pk}:{now.isoformat()}",
            now=now,
        )


def _get_member(account: Account, member_id: int) -> Membership:
    member = (
        Membership.objects.select_related("account", "user").filter(account=account, pk=member_id).first()
    )
    if member is None:
        raise NotFound(what="member", id=member_id)
    return member


def _require_may_touch(by: Membership, member: Membership, role: Role | None) -> None:
    actor = _get_member(by.account, by.pk)
    concerns_owner = Role.OWNER in (member.role, role)
    if actor.role not in (Role.OWNER, Role.ADMIN) or (concerns_owner and actor.role != Role.OWNER):
        raise RoleNotYours


def _require_other_owner(member: Membership) -> None:
    owners = Membership.objects.filter(account=member.account, role=Role.OWNER)
    if not owners.exclude(pk=member.pk).exists():
        raise LastOwner


def _record(name: str, by: Membership, member: Membership, now: datetime, **data: str) -> None:
    audit.record(
        name, actor=by.user.ref, subject=member.ref, account_id=member.account_id, data=data, now=now
    )
