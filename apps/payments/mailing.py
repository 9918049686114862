"""Mails about money, to whoever an account's billing concerns and to the operators."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from apps.accounts.mailing import queue_mail_to_roles
from apps.accounts.models import Account, User
from apps.accounts.roles import roles_with
from apps.mails.services import queue_mail


def tell_billing(
    *, account: Account, template: str, context: Mapping[str, object], key: str, now: datetime
) -> None:
    """Part: to every member who may see bills, once for each key."""
    queue_mail_to_roles(
        account=account, roles=roles_with("billing"), template=template, context=context, key=key, now=now
    )


def tell_operators(*, template: str, context: Mapping[str, object], key: str, now: datetime) -> None:
    """Part: to every operator, once for each key."""
    operators = User.objects.filter(is_staff=True, is_active=True).values_list("email", flat=True)
    queue_mail(to=list(operators), template=template, context=context, key=key, account_id=None, now=now)
