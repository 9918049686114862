"""The double-entry ledger: places where money can be, entries that move it, and what is held for open jobs.

Every amount is in micro-dollars. The lines of an entry sum to zero, so that money is only ever moved; the
migration adds triggers that refuse anything else at commit.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.audit.append_only import AppendOnlyModel, AppendOnlyQuerySet
from apps.billing.choices import LEDGER_SOURCES, Source
from apps.billing.ledger.choices import (
    DEBT_PLACES,
    SINGLE_TENANT_PLACES,
    SYSTEM_PLACES,
    TENANT_PLACES,
    EntryName,
    HoldState,
    Place,
)


class LedgerAccount(models.Model):
    """One place of a tenant, or of the system. Only `posting.post` changes a balance."""

    kind = models.CharField(max_length=12, choices=Place)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    # The system's places are part of every entry of every tenant: a row that all of them wrote to would
    # have them wait for each other. Their balance is the sum of their lines.
    balance_micro = models.BigIntegerField(
        null=True, blank=True, help_text="Micro-dollars; empty for the system's own places."
    )
    opened_by = models.CharField(
        max_length=200,
        unique=True,
        null=True,
        blank=True,
        help_text="Promotional credit: the key of the entry that granted it.",
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Promotional credit: its last moment.")

    class Meta:
        indexes = [
            models.Index(fields=["account", "expires_at"], name="billing_promo_by_expiry"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "kind"],
                condition=Q(kind__in=SINGLE_TENANT_PLACES),
                name="billing_place_once_an_account",
            ),
            models.UniqueConstraint(
                fields=["kind"], condition=Q(account=None), name="billing_system_place_once"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=TENANT_PLACES, account__isnull=False, balance_micro__isnull=False)
                | Q(kind__in=SYSTEM_PLACES, account__isnull=True, balance_micro__isnull=True),
                name="billing_place_has_its_owner",
            ),
            models.CheckConstraint(
                condition=Q(balance_micro=None)
                | Q(kind__in=DEBT_PLACES, balance_micro__lte=0)
                | (~Q(kind__in=DEBT_PLACES) & Q(balance_micro__gte=0)),
                name="billing_balance_on_its_side",
            ),
            models.CheckConstraint(
                condition=Q(kind=Place.PROMO, opened_by__isnull=False)
                | (~Q(kind=Place.PROMO) & Q(opened_by=None, expires_at=None)),
                name="billing_promo_has_its_grant",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.account or 'the system'}"


class LedgerEntry(AppendOnlyModel):
    """One movement of money. Its key is what makes it happen once."""

    key = models.CharField(max_length=200, unique=True)
    name = models.CharField(max_length=20, choices=EntryName)
    at = models.DateTimeField()
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    job_id = models.BigIntegerField(null=True, blank=True)
    amount_micro = models.BigIntegerField(help_text="What the operation was asked to move.")
    terms = models.CharField(
        max_length=200, blank=True, help_text="What else was asked: the same key must say the same."
    )
    memo = models.CharField(max_length=200, blank=True, help_text="For readers.")

    objects = AppendOnlyQuerySet["LedgerEntry"].as_manager()

    class Meta:
        verbose_name_plural = "ledger entries"
        indexes = [
            # An account's statement, newest first.
            models.Index(fields=["account", "-id"], name="billing_entry_by_account"),
        ]

    def __str__(self) -> str:
        return self.key


class LedgerLine(AppendOnlyModel):
    """What an entry adds to one place (positive) or takes from it."""

    entry = models.ForeignKey(LedgerEntry, on_delete=models.PROTECT, related_name="lines")
    # Without the database's own check, whose share locks on the few rows of the system would be renewed by
    # every entry of every tenant; `post` takes the ids from those very rows, and nothing deletes them.
    ledger_account = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    amount_micro = models.BigIntegerField()

    objects = AppendOnlyQuerySet["LedgerLine"].as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(amount_micro=0), name="billing_line_moves_something"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_micro} to ledger account {self.ledger_account_id}"


class Hold(models.Model):
    """What a job's images will cost at most, set aside when it was accepted. It ends once, with the job."""

    job_id = models.BigIntegerField(unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    source = models.CharField(max_length=20, choices=Source)
    promo = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    amount_micro = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=HoldState, default=HoldState.OPEN)
    captured_micro = models.BigIntegerField(default=0)
    at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["account"], condition=Q(state=HoldState.OPEN), name="billing_open_hold_by_account"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(amount_micro__gt=0), name="billing_hold_positive"),
            models.CheckConstraint(
                condition=Q(captured_micro__gte=0, captured_micro__lte=models.F("amount_micro")),
                name="billing_capture_within_hold",
            ),
            models.CheckConstraint(
                condition=Q(state=HoldState.OPEN, ended_at=None, captured_micro=0)
                | Q(state=HoldState.RELEASED, ended_at__isnull=False, captured_micro=0)
                | Q(state=HoldState.CAPTURED, ended_at__isnull=False),
                name="billing_hold_ends_once",
            ),
            models.CheckConstraint(
                condition=Q(source=Source.PROMO, promo__isnull=False)
                | (~Q(source=Source.PROMO) & Q(source__in=sorted(LEDGER_SOURCES), promo=None)),
                name="billing_hold_has_its_source",
            ),
        ]

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.amount_micro} {self.state}"
