"""Mail to the people of an account, each in their own language."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from apps.accounts.choices import Role
from apps.accounts.models import Account, User
from apps.mails.services import queue_mail


def queue_mail_to_roles(
    *,
    account: Account,
    roles: Collection[Role],
    template: str,
    context: Mapping[str, object],
    key: str,
    now: datetime,
) -> None:
    """Queue one mail to each active member of `account` who has one of `roles`; a part.

    `key` names what happened; each member's mail has it with the member's id, so that nobody hears twice.
    """
    members = User.objects.filter(memberships__account=account, memberships__role__in=roles, is_active=True)
    for user in members.order_by("pk"):
        queue_mail(
            to=[user.email],
            template=template,
            context=context,
            key=f"{key}:{user.pk}",
            account_id=account.pk,
            language=user.language,
            now=now,
        )
