"""Plans, and which account has which."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.plans.contract_models import Contract
from apps.plans.coupon_models import Coupon, Redemption
from apps.plans.entitlements import Entitlements, parse_entitlements
from apps.plans.errors import PlanMalformed
from apps.plans.licence_models import Licence, LicenceClock
from apps.plans.subscription_models import PlanCharge, Subscription, TrialClaim

__all__ = [
    "AccountPlan",
    "Contract",
    "Coupon",
    "Licence",
    "LicenceClock",
    "Plan",
    "PlanCharge",
    "PlanTerms",
    "Redemption",
    "RetentionChoice",
    "Subscription",
    "TrialClaim",
]

DEFAULT_GRACE_DAYS = 7


class Plan(models.Model):
    """Limits by name. A row, not a setting: an administrator changes it while the appliance runs."""

    code = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    limits = models.JSONField(
        help_text='calls_per_day, queue_depth: a number or "unlimited"; max_samples: a number; '
        "kinds: a list. Others may be named as well; apps/plans/README.md lists them."
    )
    weight = models.FloatField(default=1.0, help_text="Share of the device when accounts compete.")
    is_default = models.BooleanField(
        default=False, help_text="Applies to accounts without a plan of their own."
    )
    # Columns with a default in the database: a version that does not know them goes on while the next starts.
    price_micro = models.BigIntegerField(
        default=0, db_default=0, help_text="Micro-USD a month; 0 costs nothing."
    )
    currency = models.CharField(max_length=3, default="usd", db_default="usd", editable=False)
    is_public = models.BooleanField(
        default=False, db_default=False, help_text="Whether customers see it and may choose it themselves."
    )
    description = models.TextField(
        blank=True, default="", db_default="", help_text="What customers read, the rule of fair use included."
    )
    trial_days = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="0 offers no trial.")
    grace_days = models.PositiveSmallIntegerField(
        default=DEFAULT_GRACE_DAYS,
        db_default=DEFAULT_GRACE_DAYS,
        help_text="How long the plan goes on while a payment fails.",
    )
    version = models.PositiveIntegerField(default=1, db_default=1, editable=False)
    """Counts the changes of what holders have: limits, weight and price."""
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    """Since when nobody can change to it; who has it keeps it."""

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(condition=Q(weight__gt=0), name="plans_plan_weight_positive"),
            models.CheckConstraint(condition=Q(price_micro__gte=0), name="plans_plan_price_not_negative"),
            models.CheckConstraint(
                condition=Q(archived_at=None) | Q(is_default=False), name="plans_plan_default_not_archived"
            ),
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


class PlanTerms(models.Model):
    """An earlier version of a plan, kept for those who had it when it changed. Written once."""

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField()
    limits = models.JSONField()
    weight = models.FloatField()
    price_micro = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "plan terms"
        ordering = ["plan", "-version"]
        constraints = [models.UniqueConstraint(fields=["plan", "version"], name="plans_terms_unique")]

    def __str__(self) -> str:
        return f"{self.plan} v{self.version}"


class AccountPlan(models.Model):
    """The plan an account has now; the audit log knows the earlier ones."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="holders")
    since = models.DateTimeField()
    terms = models.ForeignKey(PlanTerms, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    """An earlier version of the plan; null for what the plan is now."""
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    """Which gave the plan, and takes it when it ends; null where an operator chose it."""

    def __str__(self) -> str:
        return f"{self.account}: {self.plan}"

    @property
    def ref(self) -> Ref:
        """A change of plan is something that happens to the account."""
        return self.account.ref


class RetentionChoice(models.Model):
    """How long an account keeps its images, of what its plan offers. No row: as this installation does."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    days = models.PositiveIntegerField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(days__gte=1), name="plans_retention_some_days")]

    def __str__(self) -> str:
        return f"{self.account}: {self.days} days"
