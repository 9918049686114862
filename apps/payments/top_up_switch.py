"""Ending automatic top-ups for a reason other than a card that declines. Parts."""

from __future__ import annotations

from datetime import datetime

from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.core.db import require_transaction
from apps.payments.models import AutoTopUp


def switch_off(*, account_id: int, reason: str, now: datetime) -> None:
    """Money that went back is not fetched again at once; a part. Again, it changes nothing.

    `reason` is shown to whoever looks why, after "Switched off by".
    """
    require_transaction()
    wishes = AutoTopUp.objects.filter(account_id=account_id, is_on=True).select_related("account")
    for wish in wishes.select_for_update(of=("self",)):
        wish.is_on, wish.last_error, wish.updated_at = False, f"Switched off by {reason}.", now
        wish.save(update_fields=["is_on", "last_error", "updated_at"])
        audit.record(
            "payments.auto_top_up.switched_off",
            actor=SYSTEM,
            subject=wish.ref,
            account_id=account_id,
            data={"reason": reason},
            now=now,
        )
