"""Whether an account may pay as it goes: nothing is taken beforehand, usage goes on the next invoice."""

from __future__ import annotations

from datetime import datetime

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.models import PayAsYouGo
from apps.core.db import require_transaction


def may_pay_later(account_id: int) -> bool:
    """Whether calls that nothing else pays go on an invoice; one query."""
    return PayAsYouGo.objects.filter(account_id=account_id, is_allowed=True).exists()


def set_pay_as_you_go(*, account: Account, is_allowed: bool, actor: Ref, now: datetime) -> None:
    """Allow it (a card is on file, an agreement signed) or end it, from the next call on; a part.

    What is open or delivered already is owed all the same. Setting it again changes nothing.
    """
    require_transaction()
    terms, is_new = PayAsYouGo.objects.select_for_update().get_or_create(
        account=account, defaults={"is_allowed": is_allowed, "changed_at": now}
    )
    was_allowed = terms.is_allowed and not is_new
    if was_allowed == is_allowed:
        return
    terms.is_allowed, terms.changed_at = is_allowed, now
    terms.save(update_fields=["is_allowed", "changed_at"])
    name = "billing.pay_as_you_go.allowed" if is_allowed else "billing.pay_as_you_go.ended"
    audit.record(name, actor=actor, subject=account.ref, account_id=account.pk, now=now)
