"""The catalogue in the console. Imports bring in new entries; what needs jobs to be known is added above.

`apps.console.catalog_admin` registers this page, with deleting and reloading.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.postgres.forms import SimpleArrayField
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.audit.admin_bases import ActsAdmin, actor_of
from apps.catalog import services
from apps.catalog.choices import Kind, ResidencyPolicy
from apps.catalog.models import CatalogEntry
from apps.catalog.previews import add_preview
from apps.catalog.search import search
from apps.core import clock
from apps.core.errors import DomainError

THUMBNAIL_PX = 40

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[CatalogEntry]
else:
    # Takes a type parameter only while types are checked.
    _ModelForm = forms.ModelForm


class Lines(SimpleArrayField):
    """Texts, one a line; empty lines count for nothing."""

    def to_python(self, value: Any) -> Any:  # the stubs take it for a text field
        lines = value.splitlines() if isinstance(value, str) else (value or [])
        return list(super().to_python("\n".join(line for line in lines if line.strip())))


class EntryForm(_ModelForm):
    """What operators change. Trigger words stand one a line, since they may hold commas."""

    trigger_words = Lines(
        forms.CharField(max_length=200),
        delimiter="\n",
        widget=forms.Textarea(attrs={"rows": 3}),
        required=False,
        help_text="One a line.",
    )
    # The scheme is what Django 6 assumes by itself.
    source_url = forms.URLField(required=False, max_length=500, assume_scheme="https")
    new_preview = forms.FileField(
        required=False,
        help_text="PNG, JPEG or WebP; kept at 512 px.",
        widget=forms.ClearableFileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )

    class Meta:
        model = CatalogEntry
        widgets = {
            name: forms.TextInput(attrs={"style": "width:40em;max-width:100%"})
            for name in ("title", "aliases", "tags", "source_url")
        }
        fields = [
            "title",
            "description",
            "aliases",
            "tags",
            "trigger_words",
            "is_enabled",
            "visibility",
            "owner",
            "allowed_accounts",
            "residency_policy",
            "keep_alive_s",
            "defaults",
            "native_px",
            "min_side_px",
            "max_side_px",
            "max_native_side_px",
            "licence",
            "is_commercial_use_allowed",
            "source_url",
        ]


class CatalogEntryAdmin(ActsAdmin[CatalogEntry]):
    """Every live entry of every kind."""

    form = EntryForm
    list_display = [
        "thumbnail",
        "name",
        "kind",
        "family",
        "size",
        "visibility",
        "kept",
        "uses",
        "last_used_at",
        "is_enabled",
    ]
    list_display_links = ["thumbnail", "name"]
    list_filter = ["kind", "family", "is_enabled", "visibility", "residency_policy", "licence"]
    # Shows the search box; get_search_results decides what is searched.
    search_fields = ["name"]
    search_help_text = (
        "Words of name, alias, title, trigger words, tags or description; beginnings are enough."
    )
    ordering = ["-use_count", "-id"]
    show_full_result_count = False
    autocomplete_fields = ["owner", "allowed_accounts"]
    actions = ["enable", "disable", "pin", "keep_warm", "load_on_demand"]
    readonly_fields = [
        "name",
        "kind",
        "family",
        "variant",
        "previews_shown",
        "components_shown",
        "details_shown",
        "path",
        "digest",
        "size",
        "use_count",
        "last_used_at",
        "imported_by",
        "created_at",
        "updated_at",
        "reload_requested_at",
    ]
    fieldsets = [
        (None, {"fields": ["name", "title", "description", "aliases", "tags", "trigger_words"]}),
        ("Previews", {"fields": ["previews_shown", "new_preview"]}),
        ("Who may use it", {"fields": ["is_enabled", "visibility", "owner", "allowed_accounts"]}),
        ("On the device", {"fields": ["residency_policy", "keep_alive_s", "reload_requested_at"]}),
        (
            "Requests",
            {"fields": ["defaults", "native_px", "min_side_px", "max_side_px", "max_native_side_px"]},
        ),
        ("Licence", {"fields": ["licence", "is_commercial_use_allowed", "source_url"]}),
        (
            "Weights",
            {
                "fields": [
                    "kind",
                    "family",
                    "variant",
                    "size",
                    "components_shown",
                    "details_shown",
                    "path",
                    "digest",
                ]
            },
        ),
        (
            "History",
            {"fields": ["use_count", "last_used_at", "imported_by", "created_at", "updated_at"]},
        ),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogEntry]:
        return CatalogEntry.objects.live().order_by(*self.ordering)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Accounts are chosen here, and made and changed on their own page. Any: Django's own types."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        for link in ("can_add_related", "can_change_related", "can_view_related", "can_delete_related"):
            if field is not None and hasattr(field.widget, link):
                setattr(field.widget, link, False)
        return field

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CatalogEntry], search_term: str
    ) -> tuple[QuerySet[CatalogEntry], bool]:
        return queryset & search(CatalogEntry.objects.live(), search_term), False

    @admin.display(description="")
    def thumbnail(self, entry: CatalogEntry) -> SafeString | str:
        return _picture(entry.previews[0], THUMBNAIL_PX) if entry.previews else "–"

    @admin.display(ordering="residency_policy")
    def kept(self, entry: CatalogEntry) -> str:
        return entry.get_residency_policy_display() if entry.kind == Kind.CHECKPOINT else "–"

    @admin.display(ordering="use_count")
    def uses(self, entry: CatalogEntry) -> str:
        return f"{entry.use_count:,}"

    @admin.display(ordering="size_bytes")
    def size(self, entry: CatalogEntry) -> str:
        return _megabytes(entry.size_bytes)

    @admin.display(description="previews")
    def previews_shown(self, entry: CatalogEntry) -> SafeString | str:
        pictures = ((_picture(preview, 128),) for preview in entry.previews)
        return format_html_join(" ", "{}", pictures) or "–"

    @admin.display(description="components")
    def components_shown(self, entry: CatalogEntry) -> SafeString | str:
        if not entry.components:
            return "–"
        rows = (
            (
                component.get("name", ""),
                component.get("class_name", ""),
                component.get("dtype", ""),
                _megabytes(int(component.get("size_bytes") or 0)),
                str(component.get("digest", ""))[:12],
            )
            for component in entry.components
        )
        return format_html(
            "<table><thead><tr><th>Name</th><th>Class</th><th>Numbers</th><th>Size</th><th>Digest</th></tr>"
            "</thead><tbody>{}</tbody></table>",
            format_html_join(
                "", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>", rows
            ),
        )

    @admin.display(description="details")
    def details_shown(self, entry: CatalogEntry) -> SafeString | str:
        facts = ((name, value) for name, value in sorted(entry.details.items()))
        return format_html_join("", "<div><b>{}</b>: {}</div>", facts) or "–"

    def save_model(self, request: HttpRequest, obj: CatalogEntry, form: Any, change: bool) -> None:
        now, actor = clock.now(), actor_of(request)
        columns = {name: form.cleaned_data[name] for name in form.changed_data if name in services.CHANGEABLE}
        accounts = form.cleaned_data["allowed_accounts"] if "allowed_accounts" in form.changed_data else None
        if columns or accounts is not None:
            services.change_entry(entry=obj, changes=columns, allowed_accounts=accounts, actor=actor, now=now)
        picture = form.cleaned_data.get("new_preview")
        if picture is not None:
            add_preview(entry=obj, data=picture.read(), actor=actor, now=now)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: save_model has done it, audited."""

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, entries: QuerySet[CatalogEntry]) -> None:
        self._change(request, entries, {"is_enabled": True})

    @admin.action(description="Disable: requests for it are refused", permissions=["change"])
    def disable(self, request: HttpRequest, entries: QuerySet[CatalogEntry]) -> None:
        self._change(request, entries, {"is_enabled": False})

    @admin.action(description="Pin: always on the device", permissions=["change"])
    def pin(self, request: HttpRequest, entries: QuerySet[CatalogEntry]) -> None:
        self._change_checkpoints(request, entries, ResidencyPolicy.PINNED)

    @admin.action(description="Keep warm: loaded at start and when idle", permissions=["change"])
    def keep_warm(self, request: HttpRequest, entries: QuerySet[CatalogEntry]) -> None:
        self._change_checkpoints(request, entries, ResidencyPolicy.WARM)

    @admin.action(description="Load on demand", permissions=["change"])
    def load_on_demand(self, request: HttpRequest, entries: QuerySet[CatalogEntry]) -> None:
        self._change_checkpoints(request, entries, ResidencyPolicy.ON_DEMAND)

    def _change_checkpoints(
        self, request: HttpRequest, entries: QuerySet[CatalogEntry], policy: ResidencyPolicy
    ) -> None:
        """Adapters come and go with the requests that name them; only checkpoints have a policy."""
        others = entries.exclude(kind=Kind.CHECKPOINT).count()
        if others:
            self.message_user(request, f"Only checkpoints are kept: left out {others}.", messages.WARNING)
        self._change(request, entries.filter(kind=Kind.CHECKPOINT), {"residency_policy": policy})

    def _change(
        self, request: HttpRequest, entries: QuerySet[CatalogEntry], changes: Mapping[str, object]
    ) -> None:
        """One act an entry, so that a refusal of one leaves the others done."""
        done = 0
        for entry in entries:
            try:
                services.change_entry(entry=entry, changes=changes, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, f"{entry.name}: {refusal}", messages.ERROR)
            else:
                done += 1
        if done:
            self.message_user(request, f"{done} changed.", messages.SUCCESS)


def _picture(preview: Mapping[str, Any], side_px: int) -> SafeString:
    """Same-origin path, whatever address the console is reached by. Any: JSON of the row."""
    return format_html(
        '<img src="/previews/{}" alt="" loading="lazy" '
        'style="width:{}px;height:{}px;object-fit:cover;border-radius:6px">',
        Path(preview["file"]).name,
        side_px,
        side_px,
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
