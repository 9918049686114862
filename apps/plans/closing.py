"""What becomes of the plan of an account that is closed."""

from __future__ import annotations

from datetime import datetime

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.plans.choices import OPEN_STATES, SubscriptionSource, SubscriptionState
from apps.plans.following import follow_subscriptions, lock_account
from apps.plans.models import Subscription
from apps.plans.subscription_rows import write_row


def end_subscriptions(*, account: Account, actor: Ref, now: datetime) -> None:
    """End those that we keep ourselves at once, so that nothing more is charged; a part.

    Stripe's and licences' are ended by those who keep them.
    """
    require_transaction()
    locked = lock_account(account.pk)
    ours = Subscription.objects.filter(
        account=account, source=SubscriptionSource.MANUAL, state__in=OPEN_STATES
    )
    for row in ours.select_related("plan", "next_plan"):
        change = {
            "state": SubscriptionState.CANCELED,
            "cancel_at": now,
            "past_due_since": None,
            "next_plan": None,
        }
        write_row(row, change, name="plans.subscription.canceled", actor=actor, now=now)
    follow_subscriptions(account=locked, actor=actor, now=now)
