"""Manual subscriptions that stop for a while: paused by somebody, or owing an invoice."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from apps.audit.refs import Ref
from apps.plans.charging import charge_period
from apps.plans.choices import SubscriptionState
from apps.plans.errors import SubscriptionConflict
from apps.plans.following import follow_subscriptions, lock_account
from apps.plans.models import Subscription
from apps.plans.proration import add_months
from apps.plans.subscription_rows import current_row, write_row


def set_paused(
    *, subscription: Subscription, paused: bool, seen_revision: int, actor: Ref, now: datetime
) -> Subscription:
    """Stop charging and give the default plan meanwhile; or go on, with a new month from now.

    Raises SubscriptionConflict unless it is active, or paused.
    """
    expected = SubscriptionState.ACTIVE if paused else SubscriptionState.PAUSED
    with transaction.atomic(durable=True):
        account = lock_account(subscription.account_id)
        row = current_row(subscription, seen_revision)
        if row.state != expected:
            raise SubscriptionConflict(problem=f"The subscription is {row.state}, not {expected.value}.")
        if paused:
            write_row(
                row,
                {"state": SubscriptionState.PAUSED},
                name="plans.subscription.paused",
                actor=actor,
                now=now,
            )
        else:
            _resume(row, actor, now)
        follow_subscriptions(account=account, actor=actor, now=now)
    return row


def _resume(row: Subscription, actor: Ref, now: datetime) -> None:
    change: dict[str, Any] = {"state": SubscriptionState.ACTIVE}
    if row.period_end <= now:
        change |= {"anchor_at": now, "period_start": now, "period_end": add_months(now, 1)}
    write_row(row, change, name="plans.subscription.resumed", actor=actor, now=now)
    if "anchor_at" in change:
        charge_period(subscription=row, now=now)


def set_owing(
    *, subscription: Subscription, owing: bool, seen_revision: int, actor: Ref, now: datetime
) -> Subscription:
    """An invoice was not paid in time, which starts the days of grace; or it was paid after all.

    Raises SubscriptionConflict unless it is active, or past due.
    """
    expected = SubscriptionState.ACTIVE if owing else SubscriptionState.PAST_DUE
    with transaction.atomic(durable=True):
        account = lock_account(subscription.account_id)
        row = current_row(subscription, seen_revision)
        if row.state != expected:
            raise SubscriptionConflict(problem=f"The subscription is {row.state}, not {expected.value}.")
        change = {
            "state": SubscriptionState.PAST_DUE if owing else SubscriptionState.ACTIVE,
            "past_due_since": now if owing else None,
        }
        name = "plans.subscription.overdue" if owing else "plans.subscription.paid"
        write_row(row, change, name=name, actor=actor, now=now)
        follow_subscriptions(account=account, actor=actor, now=now)
    return row
