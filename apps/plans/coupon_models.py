"""Coupons, and who used which."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.plans.choices import CouponKind

CODE_PATTERN = r"^[A-Z0-9][A-Z0-9_-]{2,39}$"


class Coupon(models.Model):
    """A code that makes something cheaper. Its row counts the redemptions."""

    code = models.CharField(max_length=40, help_text="Capitals, digits, - and _; case does not matter.")
    kind = models.CharField(max_length=10, choices=CouponKind)
    value = models.BigIntegerField(help_text="Percent (1 to 100), or micro-USD.")
    months = models.PositiveSmallIntegerField(
        default=1, help_text="For how many months it makes a plan cheaper; without meaning for credit."
    )
    max_redemptions = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: any number.")
    redemptions = models.PositiveIntegerField(default=0, editable=False)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    plans = models.ManyToManyField(
        "plans.Plan", blank=True, related_name="+", help_text="For which plans; none chosen: for all."
    )
    created_at = models.DateTimeField(editable=False)

    class Meta:
        ordering = ["code"]
        constraints = [
            models.UniqueConstraint(Upper("code"), name="plans_coupon_code_unique"),
            models.CheckConstraint(condition=Q(code__regex=CODE_PATTERN), name="plans_coupon_code_shape"),
            models.CheckConstraint(condition=Q(value__gt=0), name="plans_coupon_value_positive"),
            models.CheckConstraint(
                condition=~Q(kind="percent") | Q(value__lte=100), name="plans_coupon_percent_at_most_all"
            ),
            models.CheckConstraint(condition=Q(months__gte=1), name="plans_coupon_months"),
            models.CheckConstraint(
                condition=Q(max_redemptions=None) | Q(redemptions__lte=F("max_redemptions")),
                name="plans_coupon_not_overdrawn",
            ),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def ref(self) -> Ref:
        """How the audit log names this coupon."""
        return Ref(kind="coupon", id=self.pk, label=self.code)


class Redemption(models.Model):
    """A coupon used by an account, once."""

    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="uses")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    months_left = models.PositiveSmallIntegerField(default=0)
    """Renewals that it still makes cheaper."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["coupon", "account"], name="plans_redemption_once"),
        ]

    def __str__(self) -> str:
        return f"{self.coupon} by {self.account}"
