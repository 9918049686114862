"""Bases of the console's pages: rows are either only read, or changed by acts that the audit log records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar, cast

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views.decorators.csrf import csrf_protect

from apps.audit.refs import Ref
from apps.core.errors import DomainError

Row = TypeVar("Row", bound=Model)

if TYPE_CHECKING:

    class TypedAdmin(admin.ModelAdmin[Row]):
        """Django's ModelAdmin, which takes type parameters only while types are checked."""
else:

    class TypedAdmin(admin.ModelAdmin, Generic[Row]):
        """Django's ModelAdmin; `TypedAdmin[Account]` is plain Python here."""


class HasRef(Protocol):
    """What every user and every row of the console has."""

    @property
    def ref(self) -> Ref: ...


def actor_of(request: HttpRequest) -> Ref:
    """The signed-in operator, for the audit log."""
    return cast(HasRef, request.user).ref


class ReadOnlyAdmin(TypedAdmin[Row]):
    """Rows that the appliance writes and operators look at."""

    # Counting a large table takes longer than showing a page of it.
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False


class ActsAdmin(TypedAdmin[Row]):
    """Rows that operators change: each subclass turns its form into a call of a service in `save_model`.

    Nothing is ever deleted here; what has happened stays visible.
    """

    list_per_page = 50

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,  # Any: template context, Django's own type
    ) -> HttpResponse:
        # Django wraps this in a transaction of its own; our acts open theirs, and refuse to be nested.
        try:
            return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined,no-any-return]  # not in the stubs
        except DomainError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Row, form: Any, change: bool) -> None:
        raise NotImplementedError(f"{type(self).__name__} must save through a service")

    def log_addition(self, request: HttpRequest, obj: Row, message: object) -> None:  # type: ignore[override]
        """Nothing: the audit log has it."""

    def log_change(self, request: HttpRequest, obj: Row, message: object) -> None:  # type: ignore[override]
        """Nothing: the audit log has it."""

    def log_deletions(self, request: HttpRequest, queryset: object) -> NoReturn:
        raise NotImplementedError("nothing is deleted in the console")

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The row's own lines of the audit log."""
        subject = cast(HasRef, self.get_object(request, object_id)).ref
        query = urlencode({"subject_kind": subject.kind, "subject_id": str(subject.id)})
        return HttpResponseRedirect(f"{reverse('admin:audit_auditevent_changelist')}?{query}")
