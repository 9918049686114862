"""Imports in the console: ask for one, watch it, cancel and retry. All acts are the services'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST

from apps.audit.admin_bases import ReadOnlyAdmin, actor_of
from apps.catalog.imports.selectors import access_import, list_imports
from apps.catalog.imports.services import cancel_import, retry_import, submit_import
from apps.catalog.imports.uploads import FORM_FIELD, StagingHandler, require_room
from apps.catalog.models import ModelImport
from apps.console.imports_form import ImportForm
from apps.console.imports_page import PAGE_SIZE, line_of, lines_as_json
from apps.core import clock
from apps.core.errors import DomainError

LIST_PAGE = "admin:catalog_modelimport_changelist"
MAX_WATCHED = 50


@admin.register(ModelImport)
class ImportAdmin(ReadOnlyAdmin[ModelImport]):
    """The list is a page of its own: bars that move need more than a table of columns."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
            return self.admin_site.admin_view(view)

        return [
            path("progress", guarded(self.progress_view), name="catalog_modelimport_progress"),
            # Exempt, because the check reads the form before the view could say where its file goes.
            path("submit", csrf_exempt(guarded(self.submit_view)), name="catalog_modelimport_submit"),
            path("<int:import_id>/cancel", guarded(self.cancel_view), name="catalog_modelimport_cancel"),
            path("<int:import_id>/retry", guarded(self.retry_view), name="catalog_modelimport_retry"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        self._require_view(request)
        before = request.GET.get("before", "")
        rows = list_imports(None)
        if before.isascii() and before.isdigit() and len(before) < 19:
            rows = rows.filter(pk__lt=int(before))
        shown = list(rows[: PAGE_SIZE + 1])
        context = {
            **self.admin_site.each_context(request),
            "title": "Imports",
            "opts": self.opts,
            "lines": [line_of(row) for row in shown[:PAGE_SIZE]],
            "older": shown[PAGE_SIZE - 1].pk if len(shown) > PAGE_SIZE else None,
            "is_first_page": not before,
            **(extra_context or {}),
        }
        response = TemplateResponse(request, "console/imports.html", context)
        add_never_cache_headers(response)
        return response

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self._require_view(request)
        return self._show_form(request, ImportForm())

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """There is nothing to see of one import that the list does not show."""
        return HttpResponseRedirect(reverse(LIST_PAGE))

    def progress_view(self, request: HttpRequest) -> JsonResponse:
        """The imports named in `ids`, and every open one, for the page's script."""
        self._require_view(request)
        words = request.GET.get("ids", "").split(",")[:MAX_WATCHED]
        ids = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 19]
        response = JsonResponse({"imports": lines_as_json(list_imports(None).filter(pk__in=ids))})
        add_never_cache_headers(response)
        return response

    @csrf_exempt
    def submit_view(self, request: HttpRequest) -> HttpResponseBase:
        """A file of the form goes straight to staging; it is thrown away unless an import takes it."""
        self._require_view(request)
        handler = StagingHandler(request, account_id=None)
        request.upload_handlers = [handler]
        taken: list[str] = []
        try:
            require_room(int(request.META.get("CONTENT_LENGTH") or 0))
            return csrf_protect(self._submit)(request, handler=handler, taken=taken)
        except DomainError as refusal:
            return self._show_form(request, ImportForm(), problem=str(refusal))
        finally:
            if not taken:
                handler.discard()

    def _submit(self, request: HttpRequest, *, handler: StagingHandler, taken: list[str]) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:catalog_modelimport_add"))
        values = request.POST
        if handler.refusal is not None:
            raise handler.refusal
        upload = handler.upload.id if handler.upload and FORM_FIELD in request.FILES else None
        form = ImportForm(values, upload=upload)
        if form.is_valid():
            try:
                row = submit_import(
                    options=form.options(),
                    account=form.cleaned_data["account"],
                    actor=actor_of(request),
                    now=clock.now(),
                )
            except DomainError as refusal:
                form.add_error(None, str(refusal))
            else:
                taken.append(str(row.pk))
                messages.success(request, f"Import {row.pk} is queued.")
                return HttpResponseRedirect(reverse(LIST_PAGE))
        return self._show_form(request, form)

    def cancel_view(self, request: HttpRequest, import_id: int) -> HttpResponseBase:
        return self._act(request, import_id, cancel_import, "is being stopped")

    def retry_view(self, request: HttpRequest, import_id: int) -> HttpResponseBase:
        token = request.POST.get("token", "").strip()

        def retry(**facts: Any) -> ModelImport:
            return retry_import(token=token, **facts)

        return self._act(request, import_id, retry, "is queued again")

    def _act(
        self, request: HttpRequest, import_id: int, act: Callable[..., ModelImport], done: str
    ) -> HttpResponseBase:
        self._require_view(request)

        def run(request: HttpRequest) -> HttpResponse:
            try:
                row = access_import(account=None, import_id=import_id)
                act(model_import=row, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                messages.error(request, str(refusal))
            else:
                messages.success(request, f"Import {import_id} {done}.")
            return HttpResponseRedirect(reverse(LIST_PAGE))

        return require_POST(run)(request)

    def _show_form(self, request: HttpRequest, form: ImportForm, *, problem: str = "") -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Import a model",
            "opts": self.opts,
            "form": form,
            "problem": problem,
            "first": [form[name] for name in ("name", "account", "token")],
            "advanced": [form[name] for name in ImportForm.ADVANCED],
        }
        return TemplateResponse(request, "console/import_form.html", context)

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
