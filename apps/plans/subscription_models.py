"""Subscriptions: rows that give an account its plan for a price and a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.plans.choices import GIVING_STATES, OPEN_STATES, SubscriptionSource, SubscriptionState


class Subscription(models.Model):
    """One agreement over a plan. It is kept when it has ended: a later one is another row."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    source = models.CharField(max_length=10, choices=SubscriptionSource)
    external_id = models.CharField(max_length=255)
    """Who keeps it knows it by this, e.g. `sub_…` of Stripe; ours for manual ones."""
    plan = models.ForeignKey("plans.Plan", on_delete=models.PROTECT, related_name="+")
    next_plan = models.ForeignKey(
        "plans.Plan", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    """Takes over at the end of the period: a downgrade."""
    state = models.CharField(max_length=10, choices=SubscriptionState)
    anchor_at = models.DateTimeField()
    """Its first period began then; the day of the month on which it renews."""
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    trial_end = models.DateTimeField(null=True, blank=True)
    cancel_at = models.DateTimeField(null=True, blank=True)
    past_due_since = models.DateTimeField(null=True, blank=True)
    price_micro = models.BigIntegerField(default=0)
    """Micro-USD for a period that begins now: the plan's price at the time, or the contract's."""
    revision = models.PositiveIntegerField(default=1)
    """Counts changes: of two that saw the same one, the second is refused."""
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "-id"], name="plans_subscription_by_account"),
            models.Index(
                fields=["period_end"],
                name="plans_subscription_due",
                condition=~Q(state=SubscriptionState.CANCELED),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["source", "external_id"], name="plans_subscription_unique"),
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(source="manual") & ~Q(state="canceled"),
                name="plans_subscription_one_manual",
            ),
            models.CheckConstraint(
                condition=Q(period_end__gt=F("period_start")), name="plans_subscription_period_order"
            ),
            models.CheckConstraint(condition=Q(price_micro__gte=0), name="plans_subscription_price"),
            models.CheckConstraint(
                condition=Q(state=SubscriptionState.PAST_DUE, past_due_since__isnull=False)
                | (~Q(state=SubscriptionState.PAST_DUE) & Q(past_due_since__isnull=True)),
                name="plans_subscription_past_due_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.plan} ({self.state})"

    @property
    def ref(self) -> Ref:
        """How the audit log names this subscription."""
        return Ref(kind="subscription", id=self.pk, label=f"{self.source} {self.external_id}")

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def grace_ends_at(self) -> datetime | None:
        """Until when a failed payment leaves the plan alone; None while nothing is owed."""
        if self.past_due_since is None:
            return None
        return self.past_due_since + timedelta(days=self.plan.grace_days)

    def gives_plan(self, *, now: datetime) -> bool:
        """Whether the account has the plan by this subscription at `now`."""
        if self.state not in GIVING_STATES:
            return False
        return self.grace_ends_at is None or now < self.grace_ends_at


class TrialClaim(models.Model):
    """Who has had a trial. The unique columns decide the race of two who want the last one."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    claimant = models.CharField(max_length=254, unique=True)
    """The owner's e-mail domain, or the whole address where the domain is everybody's."""
    at = models.DateTimeField()
    held_by = models.CharField(max_length=64, blank=True)
    """Who keeps it for somebody that is about to begin a trial; empty once there has been one."""

    def __str__(self) -> str:
        return self.claimant


class PlanCharge(models.Model):
    """What a manual subscription costs for a time, for the next invoice. Written once, with a unique key."""

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="charges")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=100, unique=True)
    amount_micro = models.BigIntegerField()
    memo = models.CharField(max_length=200)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    created_at = models.DateTimeField()
    invoiced_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount_micro__gt=0), name="plans_charge_positive"),
        ]
        indexes = [
            models.Index(
                fields=["account", "id"], name="plans_charge_to_invoice", condition=Q(invoiced_at=None)
            ),
        ]

    def __str__(self) -> str:
        return self.memo
