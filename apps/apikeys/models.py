"""API keys: the only credential of the HTTP dialects."""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_address, ip_network

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.apikeys.choices import Scope
from apps.audit.refs import Ref


class ApiKey(models.Model):
    """One key of one account. The row cannot give the key back: it holds a keyed digest."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=8, unique=True)
    digest = models.CharField(max_length=64)
    scopes = ArrayField(models.CharField(max_length=40, choices=Scope))
    allowed_checkpoints = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="Names of checkpoints this key may use; empty allows all.",
    )
    allowed_addresses = ArrayField(
        models.CharField(max_length=43),
        default=list,
        blank=True,
        help_text="Networks in CIDR form the key works from; empty allows all.",
    )
    daily_cap = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most calls a day with this key, on top of the plan's limit."
    )
    monthly_cap = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most calls a calendar month with this key."
    )
    queue_depth = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most open jobs of this key at once; more are refused."
    )
    max_parallel = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most jobs of this key that run at once; more wait in the queue."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaced_by = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    is_portal = models.BooleanField(
        default=False,
        # A version that does not know the column goes on while the next one starts.
        db_default=False,
        help_text="Stands for members who work in the portal; nobody has its text.",
    )

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["account", "-created_at"], name="apikeys_key_by_account")]
        constraints = [
            models.CheckConstraint(
                condition=Q(prefix__regex=r"^[a-z0-9]{8}$"), name="apikeys_key_prefix_shape"
            ),
            models.CheckConstraint(
                condition=Q(digest__regex=r"^[0-9a-f]{64}$"), name="apikeys_key_digest_shape"
            ),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values), name="apikeys_key_scopes_known"
            ),
            models.CheckConstraint(
                condition=Q(replaced_by=None) | ~Q(replaced_by=F("id")),
                name="apikeys_key_replaced_by_another",
            ),
            # None at all would let jobs wait for ever.
            models.CheckConstraint(
                condition=Q(max_parallel=None) | Q(max_parallel__gte=1), name="apikeys_key_parallel_positive"
            ),
            models.UniqueConstraint(
                fields=["account"], condition=Q(is_portal=True), name="apikeys_key_one_portal_each"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (dkr_{self.prefix}_…)"

    @property
    def ref(self) -> Ref:
        """How the audit log names this key."""
        return Ref(kind="api_key", id=self.pk, label=f"{self.name} ({self.prefix})")

    def has_expired(self, *, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_usable(self, *, now: datetime) -> bool:
        """Neither revoked nor expired, and its account is active."""
        return self.revoked_at is None and not self.has_expired(now=now) and self.account.is_active

    def allows_scope(self, scope: Scope) -> bool:
        return scope.value in self.scopes

    def allows_checkpoint(self, name: str) -> bool:
        """Whether the key may use the checkpoint with this name (its name, not an alias)."""
        return not self.allowed_checkpoints or name in self.allowed_checkpoints

    def allows_address(self, address: str | None) -> bool:
        """Whether the key works from `address`. An unknown address passes only where there is no list."""
        if not self.allowed_addresses:
            return True
        if address is None:
            return False
        try:
            caller = ip_address(address)
        except ValueError:
            return False
        # An IPv4 client on a dual-stack socket arrives as ::ffff:a.b.c.d.
        caller = getattr(caller, "ipv4_mapped", None) or caller
        return any(caller in ip_network(network) for network in self.allowed_addresses)
