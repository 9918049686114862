"""Accounts that were closed are billed no more. By a schedule: closing one must not wait for Stripe."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import Q

from apps.audit.refs import SYSTEM
from apps.core.errors import DomainError
from apps.payments.models import StripeCustomer
from apps.payments.pay_as_you_go import stop_pay_as_you_go
from apps.payments.plan_changes import end_plan_now
from apps.payments.subscribed import find_open_subscription
from apps.plans.choices import OPEN_STATES, SubscriptionSource
from apps.plans.models import Subscription

log = logging.getLogger(__name__)


def end_billing_of_closed(*, now: datetime) -> int:
    """End at Stripe what closed accounts still have there; how many are done. The rest comes next time."""
    on_plans = Subscription.objects.filter(source=SubscriptionSource.STRIPE, state__in=OPEN_STATES)
    on_credit = Q(payg_ends_at=None) & ~Q(payg_subscription_id="")
    closed = StripeCustomer.objects.filter(account__closed_at__isnull=False, is_deleted=False)
    billed = closed.filter(on_credit | Q(account__in=on_plans.values("account")))
    done = 0
    for customer in billed.select_related("account"):
        try:
            _end(customer, now=now)
            done += 1
        except DomainError as failure:
            log.warning("billing of the closed account %s goes on: %s", customer.account_id, failure)
    return done


def _end(customer: StripeCustomer, *, now: datetime) -> None:
    account = customer.account
    if find_open_subscription(account) is not None:
        end_plan_now(account=account, actor=SYSTEM, now=now)
    if customer.payg_subscription_id and customer.payg_ends_at is None:
        stop_pay_as_you_go(account=account, actor=SYSTEM, now=now)
