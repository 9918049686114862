"""Price books: what calls cost, by kind and model. A book is never changed; a newer one follows it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.audit.append_only import AppendOnlyModel, AppendOnlyQuerySet
from apps.audit.refs import Ref


class PriceBook(AppendOnlyModel):
    """All prices from a moment on. Of several that have taken effect the one that did so last counts."""

    version = models.PositiveIntegerField(unique=True)
    effective_at = models.DateTimeField(help_text="Calls accepted before keep the prices of their own book.")
    note = models.CharField(max_length=200, blank=True, help_text="Why it was published.")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()

    objects = AppendOnlyQuerySet["PriceBook"].as_manager()

    class Meta:
        ordering = ["-version"]

    def __str__(self) -> str:
        return f"price book {self.version}"

    @property
    def ref(self) -> Ref:
        """How the audit log names this book."""
        return Ref(kind="price_book", id=self.pk, label=str(self))


class Price(AppendOnlyModel):
    """What one kind, one model, or what has no price of its own costs. All amounts in micro-USD."""

    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="prices")
    kind = models.CharField(max_length=32, blank=True, help_text="Of generation; empty is every kind.")
    model = models.CharField(max_length=200, blank=True, help_text="Of the catalogue; empty is every one.")
    per_call_micro = models.BigIntegerField(default=0)
    per_image_micro = models.BigIntegerField(default=0)
    per_megapixel_micro = models.BigIntegerField(
        default=0, help_text="For each million pixels of an image beyond those that its price includes."
    )
    included_pixels = models.BigIntegerField(default=0, help_text="Of each image.")

    objects = AppendOnlyQuerySet["Price"].as_manager()

    class Meta:
        ordering = ["kind", "model"]
        constraints = [
            models.UniqueConstraint(fields=["book", "kind", "model"], name="billing_price_unique"),
            models.CheckConstraint(
                condition=Q(
                    per_call_micro__gte=0,
                    per_image_micro__gte=0,
                    per_megapixel_micro__gte=0,
                    included_pixels__gte=0,
                ),
                name="billing_price_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind or 'every kind'}, {self.model or 'every model'}"
