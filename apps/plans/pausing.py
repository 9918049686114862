"""Manual subscriptions that stop for a while: paused by somebody, or owing an invoice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.accounts.mailing import queue_mail_to_roles
from apps.accounts.roles import roles_with
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.plans.charging import charge_period
from apps.plans.choices import SubscriptionSource, SubscriptionState
from apps.plans.errors import SubscriptionConflict
from apps.plans.following import follow_subscriptions, lock_account
from apps.plans.models import Subscription
from apps.plans.proration import add_months
from apps.plans.subscription_rows import current_row, write_row


def set_paused(
    *,
    subscription: Subscription,
    paused: bool,
    seen_revision: int,
    actor: Ref,
    now: datetime,
    reason: str = "",
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
            change = {"state": SubscriptionState.PAUSED}
            write_row(row, change, name="plans.subscription.paused", actor=actor, now=now, reason=reason)
        else:
            _resume(row, actor, now, reason)
        follow_subscriptions(account=account, actor=actor, now=now)
    return row


def _resume(row: Subscription, actor: Ref, now: datetime, reason: str) -> None:
    change: dict[str, Any] = {"state": SubscriptionState.ACTIVE}
    if row.period_end <= now:
        change |= {"anchor_at": now, "period_start": now, "period_end": add_months(now, 1)}
    write_row(row, change, name="plans.subscription.resumed", actor=actor, now=now, reason=reason)
    if "anchor_at" in change:
        charge_period(subscription=row, now=now)


def accounts_owing() -> list[int]:
    """Whose plan by invoice is past due."""
    rows = Subscription.objects.filter(source=SubscriptionSource.MANUAL, state=SubscriptionState.PAST_DUE)
    return list(rows.values_list("account_id", flat=True))


def set_owing(*, account_id: int, owing: bool, actor: Ref, now: datetime) -> bool:
    """An invoice of the account is overdue, which starts the days of grace; or none is any more. A part.

    Whether that changed its plan by invoice: again, or without such a plan, nothing happens.
    """
    require_transaction()
    account = lock_account(account_id)
    before = SubscriptionState.ACTIVE if owing else SubscriptionState.PAST_DUE
    rows = Subscription.objects.filter(account=account, source=SubscriptionSource.MANUAL, state=before)
    row = rows.select_related("plan", "next_plan", "account").first()
    if row is None:
        return False
    change = {
        "state": SubscriptionState.PAST_DUE if owing else SubscriptionState.ACTIVE,
        "past_due_since": now if owing else None,
    }
    name = "plans.subscription.overdue" if owing else "plans.subscription.paid"
    write_row(row, change, name=name, actor=actor, now=now)
    if owing:
        ends = {"grace_ends": f"{row.grace_ends_at:%Y-%m-%d}"}
        tell_of_debt(row, template="plans_invoice_overdue", more=ends, now=now)
    else:
        tell_of_debt(row, template="plans_invoice_settled", now=now)
    follow_subscriptions(account=account, actor=actor, now=now)
    return True


def tell_of_debt(
    row: Subscription,
    *,
    template: str,
    now: datetime,
    since: datetime | None = None,
    more: Mapping[str, str] | None = None,
) -> None:
    """Part: a mail to those who see bills, once each time that it happens: at `since`, or else `now`."""
    queue_mail_to_roles(
        account=row.account,
        roles=roles_with("billing"),
        template=template,
        context={
            "account": row.account.name,
            "plan": row.plan.name,
            "url": f"{settings.BASE_URL}/portal/billing",
            **(more or {}),
        },
        key=f"{template}:{row.pk}:{(since or now).isoformat()}",
        now=now,
    )
