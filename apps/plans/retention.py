"""How long an account keeps its images, of what its plan offers."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.errors import InvalidField
from apps.plans.models import RetentionChoice
from apps.plans.selectors import get_entitlements


def choose_retention(*, account: Account, days: int | None, actor: Ref, now: datetime) -> None:
    """Keep images of later calls for `days`; None as long as this installation keeps any.

    Raises InvalidField for what the plan does not offer.
    """
    offered = get_entitlements(account, now=now).retention_days
    if days is not None and days not in offered:
        listed = ", ".join(str(each) for each in offered)
        raise InvalidField(field="retention_days", problem=f"must be one of {listed}, not {days}")
    with transaction.atomic(durable=True):
        if days is None:
            RetentionChoice.objects.filter(account=account).delete()
        else:
            RetentionChoice.objects.update_or_create(account=account, defaults={"days": days})
        audit.record(
            "plans.retention.chosen",
            actor=actor,
            subject=account.ref,
            account_id=account.pk,
            data={"days": days},
            now=now,
        )
