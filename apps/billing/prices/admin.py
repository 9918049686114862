"""Price books in the console: the published ones to look at, and a form for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from apps.audit.admin_bases import ActsAdmin, actor_of
from apps.billing.prices.models import Price, PriceBook
from apps.billing.prices.quoting import Rate
from apps.billing.prices.selectors import find_book, rate_of
from apps.billing.prices.services import publish_book
from apps.core import clock

RATE_FIELDS = ("per_call_micro", "per_image_micro", "per_megapixel_micro", "included_pixels")
PRICE_FIELDS = ("kind", "model", *RATE_FIELDS)

if TYPE_CHECKING:
    _PriceForm = forms.ModelForm[Price]
    _PriceInline = admin.TabularInline[Price, PriceBook]
else:
    # They take type parameters only while types are checked.
    _PriceForm = forms.ModelForm
    _PriceInline = admin.TabularInline


class PriceForm(_PriceForm):
    """One price of the next book."""

    class Meta:
        model = Price
        fields = PRICE_FIELDS

    def has_changed(self) -> bool:
        # What is taken over from the present book as it is belongs to the next one, too.
        return bool(self.initial.get("is_taken_over")) or super().has_changed()


class PriceInline(_PriceInline):
    model = Price
    form = PriceForm
    can_delete = False

    def get_extra(self, request: HttpRequest, obj: PriceBook | None = None, **kwargs: Any) -> int:
        return 0 if obj else len(_present_prices()) + 1

    def has_change_permission(self, request: HttpRequest, obj: PriceBook | None = None) -> bool:
        return False


@admin.register(PriceBook)
class PriceBookAdmin(ActsAdmin[PriceBook]):
    """A new book begins with the prices of the present one; published ones never change."""

    list_display = ["version", "effective_at", "note", "created_by", "created_at"]
    fields = ["effective_at", "note"]
    inlines = [PriceInline]

    def has_change_permission(self, request: HttpRequest, obj: PriceBook | None = None) -> bool:
        return False

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"effective_at": clock.now()}

    def get_formset_kwargs(
        self, request: HttpRequest, obj: PriceBook, inline: Any, prefix: str
    ) -> dict[str, Any]:
        found: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        return found if obj.pk else found | {"initial": _present_prices()}

    def save_model(self, request: HttpRequest, obj: PriceBook, form: Any, change: bool) -> None:
        """Nothing yet: a book and its prices are published as one, below."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        [prices] = formsets
        rates = {
            (row["kind"], row["model"]): Rate(**{name: row[name] for name in RATE_FIELDS})
            for row in (each.cleaned_data for each in prices.forms)
            if row
        }
        now = clock.now()
        book = publish_book(
            rates=rates,
            # A form takes a while to fill in: what was to count at once is not refused for it.
            effective_at=max(form.cleaned_data["effective_at"], now),
            note=form.cleaned_data["note"],
            actor=actor_of(request),
            now=now,
        )
        form.instance.pk, form.instance.version = book.pk, book.version
        # What saving the formset would have noted, for Django's own change message.
        prices.new_objects = prices.changed_objects = prices.deleted_objects = []


def _present_prices() -> list[dict[str, Any]]:
    """What the next book begins with, as initial values of its form."""
    book = find_book(clock.now())
    if book is None:
        return []
    prices = Price.objects.filter(book=book)
    return [
        {
            "kind": price.kind,
            "model": price.model,
            "is_taken_over": True,
            **{name: getattr(rate_of(price), name) for name in RATE_FIELDS},
        }
        for price in prices
    ]
