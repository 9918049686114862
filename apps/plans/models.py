"""Plans, and which account has which."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.plans.entitlements import Entitlements, parse_entitlements
from apps.plans.errors import PlanMalformed


class Plan(models.Model):
    """Limits by name. A row, not a setting: an administrator changes it while the appliance runs."""

    code = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    limits = models.JSONField(
        help_text='calls_per_day, queue_depth: a number or "unlimited"; max_samples: a number; kinds: a list.'
    )
    weight = models.FloatField(default=1.0, help_text="Share of the device when accounts compete.")
    is_default = models.BooleanField(
        default=False, help_text="Applies to accounts without a plan of their own."
    )

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(condition=Q(weight__gt=0), name="plans_plan_weight_positive"),
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="plans_plan_one_default"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def ref(self) -> Ref:
        """How the audit log names this plan."""
        return Ref(kind="plan", id=self.pk, label=self.code)

    def entitlements(self) -> Entitlements:
        """Raises PlanMalformed when the row was filled in past `clean`."""
        return parse_entitlements(plan_code=self.code, limits=self.limits, weight=self.weight)

    def clean(self) -> None:
        try:
            self.entitlements()
        except PlanMalformed as error:
            raise ValidationError({"limits": str(error)}) from None


class AccountPlan(models.Model):
    """The plan an account has now; the audit log knows the earlier ones."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="holders")
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.account}: {self.plan}"

    @property
    def ref(self) -> Ref:
        """A change of plan is something that happens to the account."""
        return self.account.ref
