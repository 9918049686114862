"""The catalogue's page with what needs more than the catalogue: jobs that use a model, and workers."""

from __future__ import annotations

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from apps.audit.admin_bases import actor_of
from apps.catalog.admin import CatalogEntryAdmin
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.core.errors import DomainError
from apps.generation.model_control import delete_model, reload_model


@admin.register(CatalogEntry)
class ConsoleCatalogAdmin(CatalogEntryAdmin):
    """Deleting takes an entry out of the catalogue; its row stays for past jobs, unseen."""

    actions = [*CatalogEntryAdmin.actions, "reload", "delete_models"]

    @admin.action(description="Reload: workers load it anew", permissions=["change"])
    def reload(self, request: HttpRequest, entries: QuerySet[CatalogEntry]) -> None:
        for entry in entries:
            try:
                reload_model(entry=entry, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, str(refusal), messages.ERROR)
            else:
                self.message_user(request, f"Loaded anew: {entry.name}.", messages.SUCCESS)

    @admin.action(description="Delete with files: for good", permissions=["change"])
    def delete_models(self, request: HttpRequest, entries: QuerySet[CatalogEntry]) -> TemplateResponse | None:
        if "is_sure" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": "Delete models with their files",
                "entries": entries,
                "opts": self.opts,
                "checkbox": helpers.ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "console/delete_models.html", context)
        for entry in entries:
            try:
                delete_model(entry=entry, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, f"{entry.name}: {refusal}", messages.ERROR)
            else:
                self.message_user(request, f"Deleted: {entry.name}.", messages.SUCCESS)
        return None
