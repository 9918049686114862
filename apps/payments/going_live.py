"""The end of Stripe's test mode: nothing that was bought in it entitles anybody to anything afterwards.

Account by account, each in one transaction that ends with forgetting who the account was at Stripe: after a
crash the rest is done by the next run. Stripe is not asked; what is left there costs nobody anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Q, Sum

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.invoices.selectors import is_invoiced
from apps.billing.ledger.payments import take_out_test_money
from apps.billing.ledger.selectors import open_holds
from apps.billing.pay_later import set_pay_as_you_go
from apps.core.db import require_transaction
from apps.core.errors import Conflict
from apps.payments.choices import TOP_UPS, UNFINISHED_CHECKOUTS, SendState
from apps.payments.customers import one_at_a_time
from apps.payments.dispute_syncing import BANK_HAD_IT
from apps.payments.keeping import end_unpaid
from apps.payments.metering import collect_usage
from apps.payments.models import Checkout, Dispute, MeterBatch, Payment, Refund, StripeCustomer
from apps.payments.top_up_switch import switch_off
from apps.plans.choices import OPEN_STATES, SubscriptionSource, SubscriptionState
from apps.plans.models import Subscription
from apps.plans.subscriptions import SubscriptionFacts, apply_subscription

WHY: Final = "Stripe's test mode has ended."


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAccount:
    """What became of one account; amounts in micro-USD."""

    account: str
    plans: int
    """Subscriptions that were ended."""
    wallet_micro: int
    """Taken out of the wallet."""
    forgiven_micro: int
    """Usage on account, invoices and disputes that nobody will pay."""
    problem: str = ""
    """Why nothing was done."""


def leave_test_mode(*, actor: Ref, now: datetime) -> list[LeftAccount]:
    """End the test mode for every account that is a customer in it; again, it does what was left.

    Accounts with open jobs are left alone and named: money that is held for a job cannot be taken out.
    """
    # Usage that is in no batch yet would be told to the live mode's meter. Again for the next minute: an
    # account has one batch a minute.
    for moment in (now, now + timedelta(minutes=1)):
        collect_usage(now=moment)
    customers = StripeCustomer.objects.filter(is_live=False).select_related("account")
    return [_leave(row, actor=actor, now=now) for row in customers.order_by("account__slug")]


def _leave(row: StripeCustomer, *, actor: Ref, now: datetime) -> LeftAccount:
    account = row.account
    try:
        with one_at_a_time(account.pk), transaction.atomic(durable=True):
            plans = _end_plans(account, actor=actor, now=now)
            _withdraw(account, now=now)
            set_pay_as_you_go(account=account, is_allowed=is_invoiced(account.pk), actor=actor, now=now)
            switch_off(account_id=account.pk, reason="the end of Stripe's test mode", now=now)
            wallet, forgiven = take_out_test_money(
                account_id=account.pk,
                top_ups_micro=_bought_in_test_mode(account),
                has_debts=not is_invoiced(account.pk),
                key=f"go-live:{row.key}",
                memo=WHY,
                actor=actor,
                now=now,
            )
            # Under the lock that taking money out has taken: no job begins meanwhile.
            _require_no_open_jobs(account)
            audit.record(
                "payments.test_mode.left",
                actor=actor,
                subject=account.ref,
                account_id=account.pk,
                data={"customer": row.customer_id, "wallet_micro": wallet, "forgiven_micro": forgiven},
                now=now,
            )
            row.delete()
    except Conflict as problem:
        return LeftAccount(
            account=account.slug, plans=0, wallet_micro=0, forgiven_micro=0, problem=str(problem)
        )
    return LeftAccount(account=account.slug, plans=plans, wallet_micro=wallet, forgiven_micro=forgiven)


def _require_no_open_jobs(account: Account) -> None:
    """Raises Conflict."""
    if open_holds().filter(account=account).exists():
        raise Conflict(problem="Money is held for open jobs; run this again when they have ended.")


def _end_plans(account: Account, *, actor: Ref, now: datetime) -> int:
    require_transaction()
    rows = Subscription.objects.filter(
        account=account, source=SubscriptionSource.STRIPE, state__in=OPEN_STATES
    )
    ended = list(rows.select_related("plan"))
    for subscription in ended:
        facts = SubscriptionFacts(
            source=SubscriptionSource.STRIPE,
            external_id=subscription.external_id,
            plan_code=subscription.plan.code,
            state=SubscriptionState.CANCELED,
            period_start=subscription.period_start,
            period_end=subscription.period_end,
            trial_end=subscription.trial_end,
            cancel_at=now,
        )
        apply_subscription(account=account, facts=facts, actor=actor, now=now)
    return len(ended)


def _bought_in_test_mode(account: Account) -> int:
    """What came into the wallet in test mode and has not gone back, to the card or to a bank; micro-USD."""
    paid = Payment.objects.filter(account=account, is_live=False, kind__in=TOP_UPS, paid_at__isnull=False)
    came = paid.aggregate(total=Sum(F("net_micro") - F("refunded_net_micro")))["total"] or 0
    taken = Dispute.objects.filter(payment__in=paid, status__in=BANK_HAD_IT - {"won"})
    return max(0, came - (taken.aggregate(total=Sum("amount_micro"))["total"] or 0))


def _withdraw(account: Account, *, now: datetime) -> None:
    """Whatever waits to be told to the test mode is told to nobody."""
    require_transaction()
    waits = Q(state=SendState.WAITING)
    end = {"state": SendState.REFUSED, "last_error": WHY}
    Payment.objects.filter(waits, account=account, is_live=False).update(**end, failed_at=now)
    Refund.objects.filter(waits, payment__account=account, payment__is_live=False).update(**end)
    MeterBatch.objects.filter(waits, account=account).update(**end)
    for checkout in Checkout.objects.filter(account=account, is_live=False, state__in=UNFINISHED_CHECKOUTS):
        end_unpaid(checkout, now=now)
