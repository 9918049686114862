"""Ends of periods: of those subscriptions that we keep ourselves, and of the days of grace of all.

A task looks every few minutes. Each row is taken in a transaction of its own and judged again under the
account's lock, so that two tasks at once do the work of one.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.audit.refs import SYSTEM
from apps.plans.charging import charge_period
from apps.plans.choices import SubscriptionSource, SubscriptionState
from apps.plans.following import follow_subscriptions, lock_account
from apps.plans.models import AccountPlan, Subscription
from apps.plans.pausing import tell_of_debt
from apps.plans.proration import period_after
from apps.plans.selectors import price_of
from apps.plans.subscription_rows import write_row

log = logging.getLogger(__name__)

RUNNING = (SubscriptionState.TRIALING, SubscriptionState.ACTIVE, SubscriptionState.PAST_DUE)


def end_periods(now: datetime) -> int:
    """Renew, change or end what is due; how many. Periods that were missed are made up for one by one."""
    due = Subscription.objects.filter(
        Q(period_end__lte=now) | Q(cancel_at__lte=now), source=SubscriptionSource.MANUAL, state__in=RUNNING
    )
    ended = 0
    for pk in list(due.order_by("period_end", "pk").values_list("pk", flat=True)):
        while _end_one(pk, now):
            ended += 1
    return ended


def _end_one(pk: int, now: datetime) -> bool:
    """Whether there was a period to end."""
    with transaction.atomic(durable=True):
        account = lock_account(Subscription.objects.values_list("account_id", flat=True).get(pk=pk))
        row = Subscription.objects.select_related("plan", "next_plan", "account").get(pk=pk)
        if row.state not in RUNNING or not _is_due(row, now):
            return False
        if _ends_for_good(row, now):
            if row.state == SubscriptionState.PAST_DUE:
                _tell_grace_is_over(row, now)
            change = {"state": SubscriptionState.CANCELED, "past_due_since": None, "next_plan": None}
            write_row(row, change, name="plans.subscription.ended", actor=SYSTEM, now=now)
        else:
            _renew(row, now)
        follow_subscriptions(account=account, actor=SYSTEM, now=now)
    return True


def _is_due(row: Subscription, now: datetime) -> bool:
    """What owes waits for its days of grace: paid meanwhile, it goes on where it stopped."""
    if row.cancel_at is not None and row.cancel_at <= now:
        return True
    return row.period_end <= now and (row.grace_ends_at is None or row.grace_ends_at <= now)


def _tell_grace_is_over(row: Subscription, now: datetime) -> None:
    """Part: once, whichever ends first: the days of grace or the period."""
    if row.source == SubscriptionSource.MANUAL:
        tell_of_debt(row, template="plans_grace_over", since=row.past_due_since, now=now)


def _ends_for_good(row: Subscription, now: datetime) -> bool:
    """Trials do not turn into something that costs money by themselves; what is owed does not grow."""
    if row.cancel_at is not None and row.cancel_at <= now:
        return True
    return row.state in (SubscriptionState.TRIALING, SubscriptionState.PAST_DUE)


def _renew(row: Subscription, now: datetime) -> None:
    change: dict[str, Any] = {
        "period_start": row.period_end,
        "period_end": period_after(anchor=row.anchor_at, end=row.period_end),
    }
    if row.next_plan is not None:
        price = price_of(account=row.account, plan=row.next_plan, now=now)
        change |= {"plan": row.next_plan, "next_plan": None, "price_micro": price}
    write_row(row, change, name="plans.subscription.renewed", actor=SYSTEM, now=now)
    charge_period(subscription=row, now=now)


def end_grace(now: datetime) -> int:
    """Take plans back whose payment has failed for all the days of grace; how many accounts."""
    held = AccountPlan.objects.filter(subscription__state=SubscriptionState.PAST_DUE)
    changed = 0
    for each in list(held.select_related("subscription__plan", "subscription__account", "account")):
        if each.subscription is None or each.subscription.gives_plan(now=now):
            continue
        with transaction.atomic(durable=True):
            account = lock_account(each.account_id)
            follow_subscriptions(account=account, actor=SYSTEM, now=now)
            _tell_grace_is_over(each.subscription, now)
        changed += 1
        log.info("account %s: its days of grace are over", each.account.slug)
    return changed
