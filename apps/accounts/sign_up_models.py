"""Who may come in, and how: the operator's rules, invitations, and domains with a sign-in of their own.

Names the other models of this app as text: its `models` imports this module.
"""

from __future__ import annotations

from datetime import datetime

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from apps.accounts.choices import Role
from apps.audit.refs import Ref

DOMAIN_PATTERN = r"^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$"


class SignUpSettings(models.Model):
    """The one row of rules for new customers; an operator changes it while the appliance runs."""

    self_service = models.BooleanField(
        default=True, help_text="Whether anybody may open an account. If not, only operators do, or invite."
    )
    invitation_only = models.BooleanField(
        default=False, help_text="Whether a new user needs an invitation, of an operator's or of a team's."
    )
    approval_required = models.BooleanField(
        default=False, help_text="Whether an operator looks at each new account before it can be used."
    )
    allowed_domains = models.TextField(
        blank=True,
        default="",
        help_text="E-mail domains that may sign up, one a line; empty: all. Invitations go to any address.",
    )
    operators_need_second_factor = models.BooleanField(
        default=False,
        help_text="Whether the console wants a code or a security key of every operator.",
    )

    class Meta:
        verbose_name = verbose_name_plural = "sign-up settings"
        constraints = [
            models.CheckConstraint(condition=models.Q(pk=1), name="accounts_signupsettings_one_row"),
        ]

    def __str__(self) -> str:
        return "Sign-up settings"

    @property
    def ref(self) -> Ref:
        """How the audit log names these settings."""
        return Ref(kind="sign_up_settings", id=1, label="sign-up settings")

    @property
    def domains(self) -> frozenset[str]:
        """The allowed domains in lower case; empty when all are."""
        return frozenset(self.allowed_domains.lower().split())


class Invitation(models.Model):
    """A letter that lets one address into an account, or open one; usable once."""

    account = models.ForeignKey(
        "accounts.Account",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="invitations",
        help_text="The account to join; empty: the guest opens one of their own.",
    )
    email = models.EmailField()
    role = models.CharField(max_length=20, choices=Role, default=Role.OWNER)
    token_digest = models.CharField(max_length=64, unique=True, help_text="SHA-256; the mail has the token.")
    invited_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            # Two clicks at once are one invitation.
            models.UniqueConstraint(
                Lower("email"),
                "account",
                condition=models.Q(accepted_at=None, revoked_at=None),
                nulls_distinct=False,
                name="accounts_invitation_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="accounts_invitation_role_known"
            ),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def ref(self) -> Ref:
        """How the audit log names this invitation."""
        return Ref(kind="invitation", id=self.pk, label=self.email)

    def is_open(self, now: datetime) -> bool:
        """Whether its token still opens a door."""
        return self.accepted_at is None and self.revoked_at is None and now < self.expires_at


class Removal(models.Model):
    """A team has taken somebody out: their provider's word does not let them in again, an invitation does."""

    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    removed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "user"], name="accounts_removal_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.user} from {self.account}"


class SignInDomain(models.Model):
    """What the owner of an e-mail domain has agreed with the operator: who proves its addresses."""

    domain = models.CharField(
        max_length=253,
        unique=True,
        validators=[RegexValidator(DOMAIN_PATTERN, "A domain in lower case, for example example.com.")],
    )
    provider = models.ForeignKey(
        "socialaccount.SocialApp",
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Whose word is taken for addresses of this domain.",
    )
    is_enforced = models.BooleanField(
        default=False, help_text="Whether its people sign in there alone: passwords are then refused to them."
    )
    account = models.ForeignKey(
        "accounts.Account",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Newcomers of the domain become members of it; empty: they open accounts of their own.",
    )
    default_role = models.CharField(
        max_length=20,
        choices=[(role.value, role.label) for role in Role if role != Role.OWNER],
        default=Role.DEVELOPER,
        help_text="Newcomers' role in that account.",
    )

    class Meta:
        ordering = ["domain"]

    def __str__(self) -> str:
        return self.domain

    @property
    def ref(self) -> Ref:
        """How the audit log names this domain."""
        return Ref(kind="sign_in_domain", id=self.pk, label=self.domain)
