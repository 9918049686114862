"""Rows of payments: the connection to Stripe, and who is who there.

Those of money are in `money_models`, those of messages in `message_models`.
"""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.payments.choices import UNFINISHED_CHECKOUTS, CheckoutKind, CheckoutState
from apps.payments.message_models import MeterBatch, MeteredUsage, ReconcileReport, StripeEvent
from apps.payments.money_models import Dispute, Payment, Refund, StripeInvoice
from apps.plans.models import Plan, Redemption

__all__ = [
    "AutoTopUp",
    "Card",
    "Checkout",
    "Dispute",
    "MeterBatch",
    "MeteredUsage",
    "Payment",
    "ReconcileReport",
    "Refund",
    "StripeCustomer",
    "StripeEvent",
    "StripeInvoice",
    "StripePrice",
    "StripeSettings",
]

THE_ROW = 1
DEFAULT_API_BASE = "https://api.stripe.com"


class StripeSettings(models.Model):
    """The connection to Stripe: one row at most. Secrets are sealed with DARKROOM_SECRET_KEY."""

    secret_key_sealed = models.TextField(blank=True)
    webhook_secret_sealed = models.TextField(blank=True)
    publishable_key = models.CharField(max_length=200, blank=True)
    api_base = models.CharField(max_length=200, default=DEFAULT_API_BASE)
    is_live = models.BooleanField(default=False, help_text="Whether real money moves.")
    is_tax_on = models.BooleanField(default=False, help_text="Stripe Tax computes and adds taxes.")
    updated_at = models.DateTimeField()
    tested_at = models.DateTimeField(null=True)
    test_result = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "stripe settings"
        constraints = [models.CheckConstraint(condition=Q(pk=THE_ROW), name="payments_settings_one_row")]

    def __str__(self) -> str:
        return "Connection to Stripe"

    @property
    def ref(self) -> Ref:
        """How the audit log names the connection."""
        return Ref(kind="stripe_settings", id=self.pk, label="Stripe")


class StripeCustomer(models.Model):
    """Who an account is at Stripe. The row comes first: its key makes asking Stripe twice harmless."""

    account = models.OneToOneField(Account, on_delete=models.PROTECT, related_name="+")
    key = models.UUIDField(default=uuid4, unique=True)
    customer_id = models.CharField(max_length=255, null=True, unique=True)
    is_live = models.BooleanField(
        default=False, db_default=False, help_text="Stripe's live mode; else its test mode."
    )
    is_deleted = models.BooleanField(default=False, help_text="Deleted at Stripe, by whomever.")
    payg_subscription_id = models.CharField(max_length=255, blank=True)
    """The metered subscription that bills pay-as-you-go; empty while there is none."""
    payg_ends_at = models.DateTimeField(null=True)
    """When that ends, since it was stopped; null while it goes on."""
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.customer_id or f"customer of account {self.account_id}"

    @property
    def ref(self) -> Ref:
        """How the audit log names this customer."""
        return Ref(kind="stripe_customer", id=self.pk, label=str(self))


class Card(models.Model):
    """A card on file at Stripe; its number is never here."""

    customer = models.ForeignKey(StripeCustomer, on_delete=models.CASCADE, related_name="cards")
    payment_method_id = models.CharField(max_length=255, unique=True)
    brand = models.CharField(max_length=40)
    last4 = models.CharField(max_length=4)
    exp_month = models.PositiveSmallIntegerField()
    exp_year = models.PositiveSmallIntegerField()
    is_default = models.BooleanField(default=False)

    class Meta:
        ordering = ["-is_default", "id"]

    def __str__(self) -> str:
        return f"{self.brand} ...{self.last4}"


class StripePrice(models.Model):
    """What a plan is called at Stripe. Prices there never change; another amount is another price."""

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    lookup_key = models.CharField(max_length=200)
    price_id = models.CharField(max_length=255, unique=True)
    product_id = models.CharField(max_length=255)
    amount_micro = models.PositiveBigIntegerField()
    is_live = models.BooleanField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # The test mode of Stripe has a catalogue of its own.
            models.UniqueConstraint(fields=["lookup_key", "is_live"], name="payments_price_unique"),
        ]

    def __str__(self) -> str:
        return self.lookup_key


class Checkout(models.Model):
    """One visit to Stripe's page. `token` is made when our page is shown: two clicks are one visit."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    token = models.CharField(max_length=64)
    key = models.UUIDField(default=uuid4, unique=True)
    kind = models.CharField(max_length=10, choices=CheckoutKind)
    is_live = models.BooleanField(
        default=False, db_default=False, help_text="Stripe's live mode; else its test mode."
    )
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, related_name="+")
    amount_micro = models.PositiveBigIntegerField(null=True)
    redemption = models.ForeignKey(Redemption, on_delete=models.SET_NULL, null=True, related_name="+")
    """The coupon that it uses; given back when nobody pays."""
    state = models.CharField(max_length=10, choices=CheckoutState, default=CheckoutState.STARTING)
    session_id = models.CharField(max_length=255, null=True, unique=True)
    url = models.TextField(blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "token"], name="payments_checkout_token"),
            # Two tabs that both buy a plan would pay for two.
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(kind=CheckoutKind.PLAN, state__in=sorted(UNFINISHED_CHECKOUTS)),
                name="payments_checkout_one_plan",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.session_id or self.key}"

    @property
    def ref(self) -> Ref:
        """How the audit log names this visit."""
        return Ref(kind="checkout", id=self.pk, label=str(self))


class AutoTopUp(models.Model):
    """An account's wish that its wallet never runs dry."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    is_on = models.BooleanField(default=False)
    threshold_micro = models.PositiveBigIntegerField()
    """Below this much in the wallet money is fetched."""
    amount_micro = models.PositiveBigIntegerField()
    monthly_cap_micro = models.PositiveBigIntegerField()
    failures = models.PositiveSmallIntegerField(default=0)
    """Declines since the last success."""
    last_error = models.CharField(max_length=300, blank=True)
    tried_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_micro__gt=0, monthly_cap_micro__gte=models.F("amount_micro")),
                name="payments_autotopup_makes_sense",
            )
        ]

    def __str__(self) -> str:
        return f"auto top-up of account {self.account_id}"

    @property
    def ref(self) -> Ref:
        """A change of it is something that happens to the account."""
        return self.account.ref
