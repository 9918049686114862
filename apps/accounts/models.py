"""Accounts (the tenants), users, and who belongs to which account."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

import apps.accounts.sign_up_models  # noqa: F401  # Django looks for models here alone
from apps.accounts.choices import Language, Role, SafetyRule
from apps.audit.refs import Ref

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$"


class Account(models.Model):
    """A tenant: everything that is counted, limited or billed belongs to one."""

    name = models.CharField(max_length=100)
    slug = models.CharField(
        max_length=60,
        unique=True,
        validators=[RegexValidator(SLUG_PATTERN, "Lower-case letters, digits and inner hyphens.")],
    )
    time_zone = models.CharField(
        max_length=64, default="UTC", help_text="IANA name; the account's daily limits reset at its midnight."
    )
    is_active = models.BooleanField(default=True, help_text="Keys of an inactive account are refused.")
    safety = models.CharField(
        max_length=10,
        choices=SafetyRule,
        blank=True,
        default="",
        # A version that does not know the column goes on while the next one starts.
        db_default="",
        help_text="What becomes of unsuitable prompts and images; empty: as this installation is set.",
    )
    awaits_approval = models.BooleanField(
        default=False, db_default=False, help_text="Signed up, and no operator has said yes or no."
    )
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was closed; it can be opened again for thirty days."
    )
    reopens_active = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Of a closed account: whether it was active, and will be once it is opened again.",
    )
    erased_at = models.DateTimeField(
        null=True, blank=True, help_text="When names and addresses of a closed account were erased."
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(slug__regex=SLUG_PATTERN), name="accounts_account_slug_is_clean"
            ),
            models.CheckConstraint(
                condition=models.Q(is_active=False)
                | models.Q(awaits_approval=False, closed_at=None, erased_at=None),
                name="accounts_account_active_is_open",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def ref(self) -> Ref:
        """How the audit log names this account."""
        return Ref(kind="account", id=self.pk, label=self.slug)


class UserManager(BaseUserManager["User"]):
    """Finds users by e-mail address, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser):
    """Somebody who signs in. Operators (`is_staff`) run the appliance and may do all in the console."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=100, blank=True, default="", db_default="")
    language = models.CharField(
        max_length=10, choices=Language, default=Language.ENGLISH, db_default="en", help_text="Of mails."
    )
    time_zone = models.CharField(
        max_length=64, default="UTC", db_default="UTC", help_text="IANA name; how times are shown."
    )
    is_staff = models.BooleanField("operator", default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField()

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        ordering = ["email"]
        constraints = [
            # Two addresses that differ in case alone are one person.
            models.UniqueConstraint(Lower("email"), name="accounts_user_email_unique_any_case"),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def ref(self) -> Ref:
        """How the audit log names this user."""
        return Ref(kind="user", id=self.pk, label=self.email)

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Operators may do everything the console offers; there are no finer permissions."""
        return self.is_active and self.is_staff

    def has_perms(self, perm_list: list[str], obj: object = None) -> bool:
        return self.has_perm("", obj)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_staff


class Membership(models.Model):
    """A user's role in an account."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "user"], name="accounts_membership_unique"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="accounts_membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role}) in {self.account}"

    @property
    def ref(self) -> Ref:
        """How the audit log names this membership."""
        return Ref(kind="membership", id=self.pk, label=str(self))
