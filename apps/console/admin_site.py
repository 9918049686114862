"""Our admin site: the operator's console at /console/."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse

from apps.accounts.models import User
from apps.accounts.services import set_password
from apps.console import sign_in
from apps.console.dashboard import get_dashboard
from apps.core import clock
from apps.mails.selectors import count_stuck


class AuditedPasswordForm(AdminPasswordChangeForm):
    """Django's form for one's own password, saved by our service."""

    user: User

    def save(self, commit: bool = True) -> User:
        set_password(
            user=self.user, password=self.cleaned_data["new_password1"], actor=self.user.ref, now=clock.now()
        )
        return self.user


class ConsoleSite(AdminSite):
    """Django's admin under our name, opening with the state of the appliance."""

    site_header = "Darkroom"
    site_title = "Darkroom"
    index_title = "Overview"
    index_template = "console/index.html"
    site_url = "/"
    empty_value_display = "–"
    login_form = sign_in.ConsoleSignInForm

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and sign_in.may_enter(request)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:  # type: ignore[override]  # the stubs forget that it may redirect
        return sign_in.send_to_factor(request) or super().login(request, extra_context)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Django's, and what every page of the console says about mail that does not go out."""
        context = super().each_context(request)
        return context | {"mail": count_stuck() if context["has_permission"] else None}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = {"dashboard": get_dashboard(now=clock.now()), **(extra_context or {})}
        return super().index(request, context)

    def password_change(  # type: ignore[override]  # the stubs forget that it may redirect
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Django's page with our form; it has no setting for that."""
        view = PasswordChangeView.as_view(
            form_class=AuditedPasswordForm,
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)
