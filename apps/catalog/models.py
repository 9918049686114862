"""What clients can name: checkpoints, LoRAs, ControlNets, VAEs and all other weights; and their imports."""

from __future__ import annotations

from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.catalog.choices import (
    OPEN_IMPORT_STATES,
    TERMINAL_IMPORT_STATES,
    ImportPhase,
    ImportSource,
    ImportState,
    Kind,
    ResidencyPolicy,
    Visibility,
)
from apps.catalog.defaults import problem_of_defaults

# What ModelsLab's model ids look like: letters, digits, and -._ within.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
# Last parts of paths that would otherwise be a model's own page.
RESERVED_NAMES: Final = frozenset({"facets", "filters", "imports", "providers", "tags"})


class CatalogQuerySet(models.QuerySet["CatalogEntry"]):
    """Filters by who is asking."""

    def live(self) -> CatalogQuerySet:
        """Whatever was not deleted."""
        return self.filter(deleted_at=None)

    def visible_to(self, account: Account) -> CatalogQuerySet:
        """Live, and public, the account's own, or shared with it; disabled ones included."""
        shared = CatalogEntry.allowed_accounts.through.objects.filter(account=account)
        return self.live().filter(
            Q(visibility=Visibility.PUBLIC)
            | Q(owner=account)
            | Q(visibility=Visibility.ACCOUNTS, pk__in=shared.values("catalogentry_id")),
        )

    def usable_by(self, account: Account) -> CatalogQuerySet:
        """Enabled, and visible to the account."""
        return self.visible_to(account).filter(is_enabled=True)


_FromQuerySet = models.Manager.from_queryset(CatalogQuerySet)


class CatalogManager(_FromQuerySet["CatalogEntry"]):
    """Leaves the search vector in the database: only PostgreSQL reads it, and it is larger than the rest."""

    def get_queryset(self) -> CatalogQuerySet:
        return CatalogQuerySet(self.model, using=self._db).defer("search")


LISTED_BY: Final = ["kind", "family", "is_enabled", "visibility", "owner"]
"""Columns that decide whether a list shows an entry."""


class CatalogEntry(models.Model):
    """One set of weights, and what a client needs to know to use it.

    The sides, `defaults` and the residency policy concern checkpoints alone.
    """

    kind = models.CharField(max_length=20, choices=Kind, default=Kind.CHECKPOINT)
    name = models.CharField(max_length=200, validators=[RegexValidator(NAME_PATTERN)])
    aliases = ArrayField(
        models.CharField(max_length=200, validators=[RegexValidator(NAME_PATTERN)]), default=list, blank=True
    )
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    family = models.CharField(
        max_length=40, blank=True, help_text="Architecture the weights fit, e.g. sd15; empty for upscalers."
    )
    variant = models.CharField(max_length=40, blank=True, help_text="E.g. inpaint, turbo, schnell, canny.")
    path = models.CharField(max_length=1000, help_text="Folder in the canonical layout, on the GPU machine.")
    digest = models.CharField(max_length=64, help_text="sha256 over the folder's file names and contents.")
    size_bytes = models.PositiveBigIntegerField()
    components = models.JSONField(
        default=list, blank=True, help_text="Networks inside: name, class_name, digest, size_bytes, dtype."
    )
    details = models.JSONField(
        default=dict, blank=True, help_text="Facts of the kind, e.g. rank of a LoRA, factor of an upscaler."
    )
    native_px = models.PositiveIntegerField(default=0, help_text="Side of the images it was trained on.")
    min_side_px = models.PositiveIntegerField(default=64)
    max_side_px = models.PositiveIntegerField(default=2048)
    max_native_side_px = models.PositiveIntegerField(
        default=1024, help_text="An image with a longer side is denoised smaller and enlarged."
    )
    defaults = models.JSONField(
        default=dict, blank=True, help_text="steps, guidance_scale, sampler, negative_prompt."
    )
    trigger_words = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    tags = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    previews = models.JSONField(
        default=list, blank=True, help_text="Preview images: file, media_type, width, height."
    )
    licence = models.CharField(max_length=100)
    is_commercial_use_allowed = models.BooleanField(default=False)
    source_url = models.URLField(max_length=500, blank=True)
    provider = models.CharField(
        max_length=100, blank=True, help_text="Who offers the weights: facts.provider_of(source_url)."
    )
    imported_by = models.CharField(max_length=200, blank=True, help_text="Who brought it in, as text.")
    visibility = models.CharField(max_length=20, choices=Visibility, default=Visibility.PUBLIC)
    owner = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    allowed_accounts = models.ManyToManyField(Account, blank=True, related_name="+")
    is_enabled = models.BooleanField(default=True)
    residency_policy = models.CharField(
        max_length=20, choices=ResidencyPolicy, default=ResidencyPolicy.ON_DEMAND
    )
    keep_alive_s = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds without use until it leaves the device; empty: the default."
    )
    use_count = models.PositiveBigIntegerField(default=0, help_text="Succeeded requests, rolled up.")
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="The row stays for past jobs; the name is free."
    )
    reload_requested_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Workers that loaded it before then load it anew."
    )
    # Written by a trigger (migration 0005), so that no way of changing a row can forget it.
    search = SearchVectorField(null=True, editable=False)

    objects = CatalogManager()

    class Meta:
        db_table = "catalog_entry"
        ordering = ["name"]
        verbose_name = "model"
        indexes = [
            # Imports are rare and reads must not wait for a list of pending ones: no fastupdate.
            GinIndex(fields=["search"], name="catalog_entry_search", fastupdate=False),
            GinIndex(fields=["tags"], name="catalog_entry_tags", fastupdate=False),
            # Which entries share a component, asked when one is deleted.
            GinIndex(
                fields=["components"],
                name="catalog_entry_components",
                opclasses=["jsonb_path_ops"],
                fastupdate=False,
            ),
            # The orders that lists are read in, each with the key that makes a cursor exact. Counting and
            # skipping pages reads the included columns alone, without the rows.
            models.Index(
                fields=["-use_count", "-id"],
                include=LISTED_BY,
                condition=Q(deleted_at=None),
                name="catalog_entry_most_used",
            ),
            models.Index(
                fields=["-created_at", "-id"],
                include=LISTED_BY,
                condition=Q(deleted_at=None),
                name="catalog_entry_newest",
            ),
            models.Index(
                fields=["kind", "family", "-use_count", "-id"],
                include=["is_enabled", "visibility", "owner"],
                condition=Q(deleted_at=None),
                name="catalog_entry_kind_family",
            ),
            models.Index(fields=["provider"], condition=Q(deleted_at=None), name="catalog_entry_provider"),
            models.Index("digest", name="catalog_entry_digest"),
        ]
        constraints = [
            # Aliases too are unique: see CatalogName.
            models.UniqueConstraint(
                fields=["name"],
                include=["id", *LISTED_BY],
                condition=Q(deleted_at=None),
                name="catalog_entry_name_unique",
            ),
            models.CheckConstraint(condition=Q(name__regex=NAME_PATTERN), name="catalog_entry_name_is_clean"),
            models.CheckConstraint(
                condition=~Q(visibility=Visibility.PRIVATE) | Q(owner__isnull=False),
                name="catalog_entry_private_has_owner",
            ),
            models.CheckConstraint(
                condition=Q(min_side_px__gte=8)
                & Q(min_side_px__lte=F("max_native_side_px"))
                & Q(max_native_side_px__lte=F("max_side_px")),
                name="catalog_entry_sides_in_order",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Defaults that a request could not be completed with are refused here, not when it arrives."""
        problem = problem_of_defaults(self.defaults) if self.kind == Kind.CHECKPOINT else None
        if problem is not None:
            raise ValidationError({"defaults": problem})
        reserved = sorted(RESERVED_NAMES.intersection([self.name, *self.aliases]))
        if reserved:
            raise ValidationError({"name": f"{reserved[0]} is the name of a page"})

    @property
    def ref(self) -> Ref:
        """How the audit log names this entry."""
        return Ref(kind=self.kind, id=self.pk, label=self.name)


class CatalogName(models.Model):
    """Every name and alias of every live entry: what makes them unique together, and how one is looked up.

    Written by a trigger of the entries' table (migration 0005) and by nothing else.
    """

    name = models.CharField(max_length=200, primary_key=True)
    entry = models.ForeignKey(CatalogEntry, on_delete=models.CASCADE, related_name="names")

    class Meta:
        db_table = "catalog_name"

    def __str__(self) -> str:
        return self.name


class UsageWatermark(models.Model):
    """How far uses of entries have been counted; one row. See apps.generation.usage_rollup."""

    counted_until = models.DateTimeField(help_text="Jobs that ended up to then are counted.")
    first_open_id = models.BigIntegerField(default=0, help_text="Every job before this one is counted.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="catalog_usage_watermark_one_row")]

    def __str__(self) -> str:
        return f"counted until {self.counted_until:%Y-%m-%d %H:%M:%S}"


class ModelImport(models.Model):
    """One import and how far it is. The row is the truth; the task that works on it is a hint.

    Files in flight lie in `settings.MODEL_DIR / "staging" / str(pk)`; nothing else on disk belongs to an
    import until it has succeeded.
    """

    source = models.CharField(max_length=10, choices=ImportSource)
    address = models.CharField(max_length=2000, help_text="Repository id, URL, or path.")
    revision = models.CharField(max_length=200, blank=True, help_text="Branch, tag or commit of a repo.")
    options = models.JSONField(default=dict, help_text="What was asked for: apps.catalog.imports.options.")
    requested_name = models.CharField(max_length=200, help_text="Name the entry will have.")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    requested_by = models.CharField(max_length=200, help_text="Who asked for it, as text.")

    state = models.CharField(max_length=12, choices=ImportState, default=ImportState.QUEUED)
    phase = models.CharField(max_length=12, choices=ImportPhase, blank=True)
    bytes_done = models.PositiveBigIntegerField(default=0)
    bytes_total = models.PositiveBigIntegerField(default=0, help_text="0 while unknown.")
    speed_bps = models.FloatField(default=0.0, help_text="Bytes a second over the last seconds.")
    files_done = models.PositiveIntegerField(default=0)
    files_total = models.PositiveIntegerField(default=0)
    is_cancel_requested = models.BooleanField(default=False)
    attempt = models.PositiveIntegerField(default=0)
    fence = models.PositiveIntegerField(default=0)
    claimed_by = models.CharField(max_length=64, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    identified = models.JSONField(default=dict, help_text="What identification found, once it has.")
    entry = models.ForeignKey(CatalogEntry, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="import_terminal_has_finished_at",
                condition=Q(state__in=OPEN_IMPORT_STATES, finished_at__isnull=True)
                | Q(state__in=TERMINAL_IMPORT_STATES, finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="import_running_has_lease",
                condition=~Q(state=ImportState.RUNNING)
                | (Q(lease_expires_at__isnull=False) & ~Q(claimed_by="")),
            ),
        ]
        indexes = [models.Index("state", "id", name="import_by_state")]

    def __str__(self) -> str:
        return f"import {self.pk} of {self.requested_name}"

    @property
    def ref(self) -> Ref:
        """How the audit log names this import."""
        return Ref(kind="model_import", id=self.pk, label=self.requested_name)

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL_IMPORT_STATES

    @property
    def eta_s(self) -> float | None:
        """Seconds of download left at the present speed; None while that is unknown."""
        if self.is_terminal or not self.bytes_total or self.speed_bps <= 0:
            return None
        return max(0, self.bytes_total - self.bytes_done) / self.speed_bps
