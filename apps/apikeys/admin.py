"""API keys in the console: issued on a page that shows the text once, afterwards only revoked or rotated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from apps.accounts.models import Account
from apps.apikeys import services
from apps.apikeys.choices import DEFAULT_SCOPES, Scope
from apps.apikeys.models import ApiKey
from apps.apikeys.services import IssuedKey
from apps.apikeys.terms import KeyTerms
from apps.audit.admin_bases import ReadOnlyAdmin, actor_of
from apps.core import clock
from apps.core.errors import DomainError

ROTATION_OVERLAP = timedelta(days=7)


class IssueKeyForm(forms.Form):
    """What an operator decides about a new key."""

    account = forms.ModelChoiceField(Account.objects.filter(is_active=True))
    name = forms.CharField(max_length=100, help_text="Who or what uses it.")
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope],
        initial=[scope.value for scope in DEFAULT_SCOPES],
        widget=forms.CheckboxSelectMultiple,
    )
    expires_at = forms.DateTimeField(required=False, help_text="UTC, e.g. 2027-01-31 00:00. Empty: never.")
    daily_cap = forms.IntegerField(required=False, min_value=0, help_text="Most calls a day with this key.")
    monthly_cap = forms.IntegerField(
        required=False, min_value=0, help_text="Most calls a calendar month with this key."
    )
    queue_depth = forms.IntegerField(
        required=False, min_value=0, help_text="Most open jobs of this key; more are refused."
    )
    max_parallel = forms.IntegerField(
        required=False, min_value=1, help_text="Most jobs of this key that run at once; more wait."
    )
    allowed_checkpoints = forms.CharField(required=False, help_text="Names, comma-separated. Empty: all.")
    allowed_addresses = forms.CharField(
        required=False, help_text="CIDR networks, comma-separated. Empty: all."
    )

    def clean_allowed_checkpoints(self) -> list[str]:
        return _words(self.cleaned_data["allowed_checkpoints"])

    def clean_allowed_addresses(self) -> list[str]:
        return _words(self.cleaned_data["allowed_addresses"])

    def clean_scopes(self) -> list[Scope]:
        return [Scope(value) for value in self.cleaned_data["scopes"]]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin[ApiKey]):
    list_display = ["name", "prefix", "account", "state", "daily_cap", "last_used_at", "created_at"]
    list_select_related = ["account"]
    list_filter = ["account"]
    search_fields = ["name", "prefix"]
    exclude = ["digest"]
    actions = ["revoke", "rotate"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @admin.display
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        if key.has_expired(now=clock.now()):
            return "expired"
        return "replaced, still works" if key.replaced_by_id else "active"

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        form = IssueKeyForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                wanted = dict(form.cleaned_data)
                issued = services.create_api_key(
                    account=wanted.pop("account"),
                    terms=KeyTerms(**wanted),
                    actor=actor_of(request),
                    now=clock.now(),
                )
            except DomainError as refusal:
                form.add_error(None, str(refusal))
            else:
                return self._show_once(request, issued)
        context = {
            **self.admin_site.each_context(request),
            "title": "New API key",
            "form": form,
            "opts": self.opts,
        }
        return TemplateResponse(request, "console/issue_key.html", context)

    def _show_once(self, request: HttpRequest, issued: IssuedKey) -> HttpResponse:
        # On a page of its own, since a message would travel on in a cookie.
        context = {
            **self.admin_site.each_context(request),
            "title": f"API key {issued.key.name}",
            "issued": issued,
            "opts": self.opts,
        }
        response = TemplateResponse(request, "console/key_issued.html", context)
        add_never_cache_headers(response)
        return response

    @admin.action(description="Revoke: stops working at once", permissions=["view"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        for key in keys:
            try:
                services.revoke_api_key(key=key, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, f"{key}: {refusal}", messages.ERROR)
            else:
                self.message_user(request, f"{key} is revoked.", messages.SUCCESS)

    @admin.action(description="Rotate: new key, the old one works for 7 more days", permissions=["view"])
    def rotate(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> HttpResponse | None:
        if len(keys) != 1:
            self.message_user(request, "Rotate one key at a time: the new one is shown once.", messages.ERROR)
            return None
        try:
            issued = services.rotate_api_key(
                key=keys[0], overlap=ROTATION_OVERLAP, actor=actor_of(request), now=clock.now()
            )
        except DomainError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return None
        return self._show_once(request, issued)
