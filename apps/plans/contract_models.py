"""Contracts: what an operator has agreed with one account beside its plan."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.plans.entitlements import read_limits
from apps.plans.errors import PlanMalformed


class Contract(models.Model):
    """Limits, weight and price of one account for a time; what it does not name is the plan's.

    The price is that of `plan` alone: of other plans the account pays what all pay.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100, help_text="What both sides call it, e.g. its number.")
    limits = models.JSONField(
        default=dict,
        blank=True,
        help_text='Those that differ from the plan, by the same names, e.g. {"calls_per_month": 500000}.',
    )
    weight = models.FloatField(null=True, blank=True, help_text="Empty: the plan's.")
    price_micro = models.BigIntegerField(
        null=True, blank=True, help_text="Micro-USD a month instead of the plan's price; empty: the plan's."
    )
    plan = models.ForeignKey(
        "plans.Plan",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Whose price it names; empty: the one the account has when this is saved.",
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until further notice.")
    note = models.TextField(blank=True)
    created_at = models.DateTimeField(editable=False)

    class Meta:
        ordering = ["-starts_at", "-id"]
        indexes = [models.Index(fields=["account", "-starts_at"], name="plans_contract_by_account")]
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gt=F("starts_at")), name="plans_contract_time_order"
            ),
            models.CheckConstraint(
                condition=Q(weight=None) | Q(weight__gt=0), name="plans_contract_weight_positive"
            ),
            models.CheckConstraint(
                condition=Q(price_micro=None) | Q(price_micro__gte=0), name="plans_contract_price"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.account})"

    @property
    def ref(self) -> Ref:
        """How the audit log names this contract."""
        return Ref(kind="contract", id=self.pk, label=self.name)

    def clean_limits(self) -> None:
        """Raises PlanMalformed."""
        if not isinstance(self.limits, dict):
            raise PlanMalformed(f"contract {self.name}: limits must be an object")
        read_limits(f"contract {self.name}", self.limits)

    def clean(self) -> None:
        try:
            self.clean_limits()
        except PlanMalformed as error:
            raise ValidationError({"limits": str(error)}) from None
