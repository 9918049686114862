"""Wallet, payments and budgets of the customer of `seed.py`."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.audit.refs import SYSTEM
from apps.billing.ledger import services as ledger
from apps.payments.choices import PaymentKind
from apps.payments.connection import save_settings
from apps.payments.models import Card, Payment, StripeCustomer, StripeInvoice
from apps.plans.choices import SubscriptionSource, SubscriptionState
from apps.plans.subscriptions import SubscriptionFacts, apply_subscription
from apps.quotas.budgets import set_budget
from apps.quotas.models import Budget


def give_money(account: Account, now: datetime) -> None:
    with transaction.atomic():
        ledger.top_up(
            account_id=account.pk,
            amount_micro=50_000_000,
            key="topup:seed-1",
            memo="Top-up",
            now=now - timedelta(days=12),
        )
        ledger.grant(
            account_id=account.pk,
            amount_micro=5_000_000,
            expires_at=now + timedelta(days=20),
            key="grant:seed-1",
            memo="Welcome credit",
            actor=SYSTEM,
            now=now - timedelta(days=12),
        )


def give_payments(account: Account, key: ApiKey, now: datetime) -> None:
    """What a month with Stripe leaves behind, and budgets. Nobody at Stripe is asked."""
    save_settings(
        secret_key="sk_test_screens",
        webhook_secret="whsec_screens",
        publishable_key="",
        api_base="http://127.0.0.1:9",
        is_tax_on=True,
        actor=SYSTEM,
        now=now,
    )
    customer = StripeCustomer.objects.create(account=account, customer_id="cus_1", created_at=now)
    Card.objects.create(
        customer=customer,
        payment_method_id="pm_1",
        brand="visa",
        last4="4242",
        exp_month=4,
        exp_year=2029,
        is_default=True,
    )
    period = {"period_start": now - timedelta(days=12), "period_end": now + timedelta(days=18)}
    apply_subscription(
        account=account,
        facts=SubscriptionFacts(
            source=SubscriptionSource.STRIPE,
            external_id="sub_1",
            plan_code="standard",
            state=SubscriptionState.ACTIVE,
            **period,
        ),
        actor=SYSTEM,
        now=now,
    )
    for number, days in ((2, 12), (1, 42)):
        at = now - timedelta(days=days)
        StripeInvoice.objects.create(
            account=account,
            invoice_id=f"in_{number}",
            number=f"DR-000{number}",
            status="paid",
            total_micro=55_930_000,
            tax_micro=8_930_000,
            issued_at=at,
        )
    Payment.objects.create(
        account=account,
        kind=PaymentKind.TOP_UP,
        intent_id="pi_1",
        net_micro=50_000_000,
        created_at=now - timedelta(days=12),
        due_at=now,
        paid_at=now - timedelta(days=12),
    )
    set_budget(
        account=account,
        api_key=None,
        limit_micro=40_000_000,
        is_hard=False,
        webhook_url="",
        actor=SYSTEM,
        now=now,
    )
    set_budget(
        account=account,
        api_key=key,
        limit_micro=5_000_000,
        is_hard=True,
        webhook_url="",
        actor=SYSTEM,
        now=now,
    )
    Budget.objects.filter(api_key=None).update(spent_micro=12_480_000)
    Budget.objects.filter(api_key=key).update(spent_micro=4_310_000)
