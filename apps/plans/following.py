"""Which plan an account has, by what it has subscribed to. Parts."""

from __future__ import annotations

from datetime import datetime

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.plans.models import AccountPlan, Plan, Subscription


def lock_account(account_id: int) -> Account:
    """Changes of one account's plan come one by one; its submits go on. Ends with the transaction."""
    require_transaction()
    # Not the lock that foreign keys ask for: a job may be inserted meanwhile.
    return Account.objects.select_for_update(no_key=True).get(pk=account_id)


def follow_subscriptions(*, account: Account, actor: Ref, now: datetime) -> None:
    """Give the account the plan of its best subscription, or take back what one that ended gave.

    The result depends on the rows alone and not on the order in which they were written.
    """
    rows = Subscription.objects.filter(account=account).select_related("plan")
    giving = [row for row in rows if row.gives_plan(now=now)]
    best = max(giving, key=_worth, default=None)
    current = AccountPlan.objects.filter(account=account).select_related("plan").first()
    if best is not None:
        put_on_plan(account=account, current=current, plan=best.plan, subscription=best, actor=actor, now=now)
    elif current is not None and current.subscription_id is not None:
        default = Plan.objects.get(is_default=True)
        put_on_plan(account=account, current=current, plan=default, subscription=None, actor=actor, now=now)


def _worth(row: Subscription) -> tuple[int, datetime, str]:
    return row.plan.price_micro, row.period_start, row.external_id


def put_on_plan(
    *,
    account: Account,
    current: AccountPlan | None,
    plan: Plan,
    subscription: Subscription | None,
    actor: Ref,
    now: datetime,
) -> None:
    """Replace the account's plan; where it has that already, nothing is on record."""
    if current is not None and current.plan_id == plan.pk:
        # The same plan by another way: since when, and which version, stays.
        if current.subscription_id != (subscription.pk if subscription else None):
            AccountPlan.objects.filter(pk=current.pk).update(subscription=subscription)
        return
    AccountPlan.objects.update_or_create(
        account=account,
        defaults={"plan": plan, "since": now, "terms": None, "subscription": subscription},
    )
    audit.record(
        "plans.account_plan.set",
        actor=actor,
        subject=account.ref,
        account_id=account.pk,
        data={"before": current.plan.code if current else None, "after": plan.code},
        now=now,
    )
