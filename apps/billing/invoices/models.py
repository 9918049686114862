"""Invoices by purchase order: for accounts that pay by bank transfer, without Stripe.

An issued document keeps everything that is printed on it, so that it stays what was sent whatever changes.
"""

from __future__ import annotations

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.billing.invoices.choices import DocumentKind, InvoiceState, LineUnit

MAX_BASIS_POINTS = 10_000


class InvoiceSettings(models.Model):
    """Who sends invoices; there is one row."""

    seller = models.TextField(help_text="Name and address, as printed; one part a line.")
    tax_id = models.CharField("tax number", max_length=50, blank=True)
    bank_details = models.TextField(help_text="Where to pay to, as printed; one part a line.")
    footer = models.CharField(max_length=200, blank=True, help_text="Printed at the foot of each page.")

    class Meta:
        verbose_name_plural = "invoice settings"
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="billing_invoice_settings_once")]

    def __str__(self) -> str:
        return "Invoice settings"

    @property
    def ref(self) -> Ref:
        """How the audit log names these settings."""
        return Ref(kind="invoice_settings", id=self.pk, label=str(self))


class InvoiceTerms(models.Model):
    """That, and how, an account is invoiced; others' usage is not."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    buyer = models.TextField(help_text="Name and address, as printed; one part a line.")
    buyer_tax_id = models.CharField("buyer's tax number", max_length=50, blank=True)
    purchase_order = models.CharField(max_length=100, blank=True, help_text="The buyer's own number.")
    net_days = models.PositiveSmallIntegerField(default=30, help_text="Days to pay, from the date of issue.")
    tax_name = models.CharField(max_length=50, blank=True, help_text="Such as VAT; as printed.")
    tax_basis_points = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(MAX_BASIS_POINTS)],
        help_text="Hundredths of a percent: 1900 is 19 %.",
    )

    class Meta:
        verbose_name_plural = "invoice terms"
        constraints = [
            models.CheckConstraint(
                condition=Q(tax_basis_points__lte=MAX_BASIS_POINTS), name="billing_tax_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return f"invoices of {self.account}"

    @property
    def ref(self) -> Ref:
        """How the audit log names these terms."""
        return Ref(kind="invoice_terms", id=self.pk, label=str(self))


class InvoiceSeries(models.Model):
    """The last number given in a year. Whoever takes one keeps others waiting, which leaves no gaps."""

    prefix = models.CharField(max_length=10)
    year = models.PositiveSmallIntegerField()
    last_number = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "invoice series"
        constraints = [
            models.UniqueConstraint(fields=["prefix", "year"], name="billing_series_once_a_year"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}-{self.year}"


class Invoice(models.Model):
    """A document: what was used on account and is to be paid, or the credit note that takes one back."""

    kind = models.CharField(max_length=20, choices=DocumentKind, default=DocumentKind.INVOICE)
    state = models.CharField(max_length=10, choices=InvoiceState, default=InvoiceState.DRAFT)
    number = models.CharField(max_length=30, unique=True, null=True, blank=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    corrects = models.OneToOneField("self", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    period_start = models.DateField()
    period_end = models.DateField(help_text="The last day, in the account's time zone.")
    seller = models.TextField()
    seller_tax_id = models.CharField(max_length=50, blank=True)
    bank_details = models.TextField()
    footer = models.CharField(max_length=200, blank=True)
    buyer = models.TextField()
    buyer_tax_id = models.CharField(max_length=50, blank=True)
    purchase_order = models.CharField(max_length=100, blank=True)
    net_days = models.PositiveSmallIntegerField()
    tax_name = models.CharField(max_length=50, blank=True)
    tax_basis_points = models.PositiveIntegerField()
    # Of credit notes negative. What is to be paid is net + tax + rounding, in whole cents.
    net_micro = models.BigIntegerField()
    tax_micro = models.BigIntegerField()
    rounding_micro = models.BigIntegerField()
    created_at = models.DateTimeField()
    issued_at = models.DateTimeField(null=True, blank=True)
    due_on = models.DateField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    payment_reference = models.CharField(max_length=100, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["account", "-id"], name="billing_invoice_by_account")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state=InvoiceState.DRAFT, number=None, issued_at=None)
                | Q(state=InvoiceState.VOID, number=None, issued_at=None)
                | Q(
                    state__in=[InvoiceState.ISSUED, InvoiceState.PAID, InvoiceState.VOID],
                    number__isnull=False,
                    issued_at__isnull=False,
                ),
                name="billing_invoice_numbered_when_issued",
            ),
        ]

    def __str__(self) -> str:
        return self.number or f"draft {self.pk}"

    @property
    def ref(self) -> Ref:
        """How the audit log names this invoice."""
        return Ref(kind="invoice", id=self.pk, label=str(self))

    @property
    def total_micro(self) -> int:
        """To be paid, in whole cents."""
        return self.net_micro + self.tax_micro + self.rounding_micro


class InvoiceLine(models.Model):
    """Usage of one kind, model and price, or a fee; `quantity * unit_price_micro` is exactly the amount."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    generation_kind = models.CharField(max_length=32, blank=True)
    model = models.CharField(max_length=200)
    """Of a fee: what it is for."""
    unit = models.CharField(max_length=10, choices=LineUnit)
    quantity = models.BigIntegerField()
    unit_price_micro = models.BigIntegerField()
    amount_micro = models.BigIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="billing_invoice_line_position"),
            models.CheckConstraint(
                condition=Q(amount_micro=models.F("quantity") * models.F("unit_price_micro")),
                name="billing_invoice_line_multiplies",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.model}"


class InvoicedUsage(models.Model):
    """Which usage event is on which line: at most one that counts."""

    event = models.ForeignKey("billing.UsageEvent", on_delete=models.PROTECT, related_name="+")
    line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="usage")
    is_void = models.BooleanField(default=False, help_text="Its invoice was taken back.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["event"], condition=Q(is_void=False), name="billing_usage_invoiced_once"
            ),
        ]

    def __str__(self) -> str:
        return f"event {self.event_id} on line {self.line_id}"


class InvoicedCharge(models.Model):
    """Which fee of a plan is on which line: at most one that counts."""

    charge = models.ForeignKey("plans.PlanCharge", on_delete=models.PROTECT, related_name="+")
    line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="charges")
    is_void = models.BooleanField(default=False, help_text="Its invoice was taken back.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["charge"], condition=Q(is_void=False), name="billing_charge_invoiced_once"
            ),
        ]

    def __str__(self) -> str:
        return f"charge {self.charge_id} on line {self.line_id}"
