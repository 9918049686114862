"""Plans that are paid by invoice begin here, where it is known who can be sent one."""

from __future__ import annotations

from datetime import datetime

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.billing.invoices.errors import InvoiceTermsMissing
from apps.billing.invoices.selectors import is_invoiced
from apps.plans.models import Plan, Subscription
from apps.plans.selectors import price_of
from apps.plans.subscriptions import start_subscription


def start_by_invoice(*, account: Account, plan: Plan, actor: Ref, now: datetime, reason: str) -> Subscription:
    """Begin `plan` for the account, its first month charged at once and put on the next invoice; an act.

    Raises InvoiceTermsMissing where a plan with a price has nobody to be invoiced, and what
    `start_subscription` raises.
    """
    if price_of(account=account, plan=plan, now=now) and not is_invoiced(account.pk):
        raise InvoiceTermsMissing(what=f"Say how the account {account.slug} is invoiced (invoice terms)")
    return start_subscription(account=account, plan=plan, actor=actor, now=now, reason=reason)
