"""Accounts, users and memberships in the console."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol, TypeAlias

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

import apps.accounts.sign_up_admin  # noqa: F401  # Django looks for pages in modules named admin alone
from apps.accounts import openings, services
from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.audit.admin_bases import ActsAdmin, actor_of
from apps.audit.refs import Ref
from apps.core import clock
from apps.core.errors import Conflict

# What Django lets a form's field list be; ours are plain names.
Fields: TypeAlias = "list[str | list[str] | tuple[str, ...] | tuple[()]]"


class Verdict(Protocol):
    """The operator's yes or no."""

    def __call__(self, *, account: Account, actor: Ref, now: datetime) -> None: ...


# Operators may do everything and others nothing, so that groups would be an empty promise.
admin.site.unregister(Group)


@admin.register(Account)
class AccountAdmin(ActsAdmin[Account]):
    list_display = ["slug", "name", "time_zone", "is_active", "awaits_approval", "closed_at", "created_at"]
    search_fields = ["slug", "name"]
    list_filter = ["awaits_approval", "is_active"]
    actions = ["approve", "reject"]

    def get_fields(self, request: HttpRequest, obj: Account | None = None) -> Fields:
        new: Fields = ["name", "slug", "time_zone"]
        return new if obj is None else [*new, "is_active", "safety"]

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> list[str]:
        return [] if obj is None else ["slug"]

    @admin.action(description="Approve what awaits it", permissions=["change"])
    def approve(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        self._judge(request, accounts, openings.approve)

    @admin.action(description="Turn down what awaits approval", permissions=["change"])
    def reject(self, request: HttpRequest, accounts: QuerySet[Account]) -> None:
        self._judge(request, accounts, openings.reject)

    def _judge(self, request: HttpRequest, accounts: QuerySet[Account], verdict: Verdict) -> None:
        for account in accounts:
            try:
                verdict(account=account, actor=actor_of(request), now=clock.now())
            except Conflict as refusal:
                self.message_user(request, str(refusal), messages.ERROR)

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        actor, now = actor_of(request), clock.now()
        if change:
            services.change_account(
                account=obj,
                name=obj.name,
                time_zone=obj.time_zone,
                is_active=obj.is_active,
                safety=obj.safety,
                actor=actor,
                now=now,
            )
        else:
            obj.pk = services.create_account(
                name=obj.name, slug=obj.slug, time_zone=obj.time_zone, actor=actor, now=now
            ).pk


class OperatorForm(forms.ModelForm):  # type: ignore[type-arg]  # takes no parameter at run time
    """A new operator, or another password and state for a user."""

    new_password = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters. Leave empty to keep the present one.",
    )

    class Meta:
        model = User
        fields = ["email", "is_active"]


@admin.register(User)
class UserAdmin(ActsAdmin[User]):
    form = OperatorForm
    list_display = ["email", "is_staff", "is_active", "last_login"]
    list_filter = ["is_staff", "is_active"]
    search_fields = ["email"]

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> Fields:
        if obj is None:
            return ["email", "new_password"]
        return ["email", "is_staff", "is_active", "new_password", "date_joined", "last_login"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return [] if obj is None else ["email", "is_staff", "date_joined", "last_login"]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        actor, now = actor_of(request), clock.now()
        password = form.cleaned_data["new_password"]
        if not change:
            if not password:
                raise Conflict(problem="A new operator needs a password.")
            obj.pk = services.create_operator(
                email=obj.email, password=password, actor=actor, now=now
            ).user.pk
            return
        if obj == request.user and not obj.is_active:
            raise Conflict(problem="You cannot deactivate yourself.")
        if "is_active" in form.changed_data:
            services.set_active(user=obj, is_active=obj.is_active, actor=actor, now=now)
        if password:
            services.set_password(user=obj, password=password, actor=actor, now=now)


@admin.register(Membership)
class MembershipAdmin(ActsAdmin[Membership]):
    list_display = ["account", "user", "role", "created_at"]
    list_select_related = ["account", "user"]
    fields = ["account", "user", "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> list[str]:
        return [] if obj is None else ["account", "user"]

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        obj.pk = services.add_member(
            account=obj.account, user=obj.user, role=Role(obj.role), actor=actor_of(request), now=clock.now()
        ).pk
