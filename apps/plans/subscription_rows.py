"""Reading and writing one subscription that we keep ourselves. Parts: the account is locked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F

from apps.audit import services as audit
from apps.audit.refs import JsonValue, Ref
from apps.plans.choices import OPEN_STATES, SubscriptionSource
from apps.plans.errors import PlanUnavailable, SubscriptionConflict
from apps.plans.models import Plan, Subscription


def current_row(subscription: Subscription, seen_revision: int) -> Subscription:
    """The row as it is now. Raises SubscriptionConflict with what has become of it."""
    row = Subscription.objects.select_related("plan", "next_plan").get(pk=subscription.pk)
    if row.source != SubscriptionSource.MANUAL:
        raise SubscriptionConflict(
            problem=f"This subscription is kept by {row.get_source_display()}; change it there."
        )
    if row.state not in OPEN_STATES:
        raise SubscriptionConflict(problem="This subscription has ended; start a new one.")
    if row.revision != seen_revision:
        raise SubscriptionConflict(
            problem=f"It was changed a moment ago: the plan is {row.plan.name}, {row.state}. Look again."
        )
    return row


def require_offered(plan: Plan) -> None:
    """By the row as it is now, and not as the page had it."""
    if Plan.objects.filter(pk=plan.pk, archived_at=None).exists():
        return
    raise PlanUnavailable(problem=f"The plan {plan.name} is no longer offered.")


def write_row(
    row: Subscription, change: dict[str, Any], *, name: str, actor: Ref, now: datetime, reason: str = ""
) -> None:
    """Any: values by column. Conditional on the revision; the account's lock makes the condition true."""
    fresh = Subscription.objects.filter(pk=row.pk, revision=row.revision)
    if fresh.update(**change, revision=F("revision") + 1, updated_at=now) != 1:
        raise SubscriptionConflict(problem="The subscription was changed a moment ago. Look again.")
    for column, value in change.items():
        setattr(row, column, value)
    row.revision += 1
    row.updated_at = now
    record_change(name, row, actor, now, reason=reason)


def record_change(name: str, row: Subscription, actor: Ref, now: datetime, *, reason: str = "") -> None:
    """`reason` is an operator's own words; others have none."""
    data: dict[str, JsonValue] = {
        "plan": row.plan.code,
        "state": str(row.state),
        "period_end": row.period_end.isoformat(),
        "next_plan": row.next_plan.code if row.next_plan else None,
        "cancel_at": row.cancel_at.isoformat() if row.cancel_at else None,
    }
    if reason:
        data["reason"] = reason
    audit.record(name, actor=actor, subject=row.ref, account_id=row.account_id, data=data, now=now)
