"""The checkpoints that clients can name."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.catalog.choices import Visibility
from apps.catalog.defaults import problem_of_defaults

# What ModelsLab's model ids look like: letters, digits, and -._ within.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class CheckpointQuerySet(models.QuerySet["Checkpoint"]):
    """Filters by who is asking."""

    def usable_by(self, account: Account) -> CheckpointQuerySet:
        """Enabled, and public or the account's own."""
        return self.filter(Q(visibility=Visibility.PUBLIC) | Q(owner=account), is_enabled=True)


class Checkpoint(models.Model):
    """One folder of base-model weights, and what a client needs to know to use it."""

    name = models.CharField(max_length=200, unique=True, validators=[RegexValidator(NAME_PATTERN)])
    aliases = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    title = models.CharField(max_length=200)
    family = models.CharField(max_length=40, help_text="Architecture the weights fit, e.g. sd15.")
    path = models.CharField(max_length=1000, help_text="Folder in diffusers layout, on the GPU machine.")
    digest = models.CharField(max_length=64, help_text="sha256 over the folder's file names and contents.")
    size_bytes = models.PositiveBigIntegerField()
    native_px = models.PositiveIntegerField(help_text="Side of the images the model was trained on.")
    min_side_px = models.PositiveIntegerField()
    max_side_px = models.PositiveIntegerField()
    max_native_side_px = models.PositiveIntegerField(
        help_text="An image with a longer side is denoised smaller and enlarged."
    )
    defaults = models.JSONField(
        default=dict, blank=True, help_text="steps, guidance_scale, sampler, negative_prompt."
    )
    licence = models.CharField(max_length=100)
    is_commercial_use_allowed = models.BooleanField(default=False)
    source_url = models.URLField(max_length=500, blank=True)
    visibility = models.CharField(max_length=20, choices=Visibility, default=Visibility.PUBLIC)
    owner = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    objects = CheckpointQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        indexes = [GinIndex(fields=["aliases"], name="catalog_checkpoint_aliases")]
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=NAME_PATTERN), name="catalog_checkpoint_name_is_clean"
            ),
            models.CheckConstraint(
                condition=Q(visibility=Visibility.PUBLIC) | Q(owner__isnull=False),
                name="catalog_checkpoint_private_has_owner",
            ),
            models.CheckConstraint(
                condition=Q(min_side_px__gte=8)
                & Q(min_side_px__lte=F("max_native_side_px"))
                & Q(max_native_side_px__lte=F("max_side_px")),
                name="catalog_checkpoint_sides_in_order",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Defaults that a request could not be completed with are refused here, not when it arrives."""
        problem = problem_of_defaults(self.defaults)
        if problem is not None:
            raise ValidationError({"defaults": problem})

    @property
    def ref(self) -> Ref:
        """How the audit log names this checkpoint."""
        return Ref(kind="checkpoint", id=self.pk, label=self.name)
