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
from apps.console.dashboard import get_dashboard
from apps.core import clock


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
