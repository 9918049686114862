"""Rows of money that Stripe moved. Mirrors: the ledger is the truth of what an account has."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.payments.choices import TOP_UPS, PaymentKind, SendState

REFUND_WINDOW: Final = timedelta(days=14)


class Sendable(models.Model):
    """Something that Stripe is to be told exactly once; its key makes telling it again harmless."""

    key = models.UUIDField(default=uuid4, unique=True)
    state = models.CharField(max_length=10, choices=SendState, default=SendState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    first_tried_at = models.DateTimeField(null=True)
    """Idempotency keys live a day at Stripe: what is repeated later is looked up first."""
    sent_at = models.DateTimeField(null=True)
    """By Stripe's clock where it says when; the books of a day go by it."""
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        abstract = True


class Payment(Sendable):
    """Money that came, or was asked for: one row a PaymentIntent or paid invoice."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=PaymentKind)
    is_live = models.BooleanField(
        default=False, db_default=False, help_text="Stripe's live mode; else its test mode."
    )
    intent_id = models.CharField(max_length=255, null=True, unique=True)
    """Null for an automatic top-up that Stripe has not answered, and invoices paid without a card."""
    invoice_id = models.CharField(max_length=255, null=True, unique=True)
    subscription_id = models.CharField(max_length=255, blank=True)
    net_micro = models.PositiveBigIntegerField()
    tax_micro = models.PositiveBigIntegerField(default=0)
    refunded_net_micro = models.PositiveBigIntegerField(default=0)
    """Given back, or on its way: never more than came."""
    refunded_tax_micro = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(refunded_net_micro__lte=F("net_micro"), refunded_tax_micro__lte=F("tax_micro")),
                name="payments_refunded_at_most_paid",
            ),
            # Two workers that both see an empty wallet would fill it twice.
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(kind=PaymentKind.AUTO_TOP_UP, state=SendState.WAITING),
                name="payments_one_auto_top_up",
            ),
        ]
        indexes = [
            models.Index("account", F("created_at").desc(), name="payments_by_account"),
            models.Index("due_at", name="payments_to_ask_for", condition=Q(state=SendState.WAITING)),
        ]

    def __str__(self) -> str:
        return self.intent_id or self.invoice_id or str(self.key)

    @property
    def ref(self) -> Ref:
        """How the audit log names this payment."""
        return Ref(kind="payment", id=self.pk, label=str(self))

    @property
    def refundable_micro(self) -> int:
        """What is left to give back, without its tax."""
        return self.net_micro - self.refunded_net_micro

    @property
    def is_top_up(self) -> bool:
        return self.kind in TOP_UPS

    def is_recent(self, *, now: datetime) -> bool:
        """Whether its customer may still take it back without asking anybody."""
        return self.paid_at is not None and now - self.paid_at <= REFUND_WINDOW


class Refund(Sendable):
    """Money that goes back. Taken from the wallet before Stripe is asked, put back if Stripe refuses."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    token = models.CharField(max_length=64, null=True)
    """Of the form; null for refunds that somebody made at Stripe."""
    refund_id = models.CharField(max_length=255, null=True, unique=True)
    net_micro = models.PositiveBigIntegerField()
    tax_micro = models.PositiveBigIntegerField(default=0)
    lost_micro = models.PositiveBigIntegerField(default=0)
    """Of the net amount: what the wallet did not have any more, so that we bear it."""
    is_ours = models.BooleanField(default=True)
    reversed_at = models.DateTimeField(null=True)
    """When a refund that failed was taken back in our books."""
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["payment", "token"], name="payments_refund_token"),
        ]
        indexes = [
            models.Index("due_at", name="payments_refunds_due", condition=Q(state=SendState.WAITING)),
        ]

    def __str__(self) -> str:
        return self.refund_id or str(self.key)

    @property
    def ref(self) -> Ref:
        """How the audit log names this refund."""
        return Ref(kind="refund", id=self.pk, label=str(self))


class Dispute(models.Model):
    """A payment that its payer's bank doubts."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    dispute_id = models.CharField(max_length=255, unique=True)
    status = models.CharField(max_length=40)
    reason = models.CharField(max_length=60, blank=True)
    amount_micro = models.PositiveBigIntegerField()
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.dispute_id


class StripeInvoice(models.Model):
    """What the portal shows of an invoice that Stripe made."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    invoice_id = models.CharField(max_length=255, unique=True)
    is_live = models.BooleanField(
        default=False, db_default=False, help_text="Stripe's live mode; else its test mode."
    )
    number = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=20)
    subscription_id = models.CharField(max_length=255, blank=True)
    total_micro = models.BigIntegerField()
    tax_micro = models.BigIntegerField(default=0)
    paid_micro = models.BigIntegerField(default=0)
    hosted_url = models.TextField(blank=True)
    """Where it is paid, and confirmed when the bank asks for that."""
    pdf_url = models.TextField(blank=True)
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    issued_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index("account", F("issued_at").desc(), name="payments_invoices")]

    def __str__(self) -> str:
        return self.number or self.invoice_id
