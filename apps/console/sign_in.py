"""How operators come into the console: by password, and with a second factor where they have one or must.

The console's own form knows passwords alone. Whoever has a second factor signs in at /accounts/login/, which
asks for it; where the rules want one of everybody, a session without it is sent to get one.
"""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import ratelimit
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from apps.accounts.models import User
from apps.accounts.openings import get_sign_up_settings


class ConsoleSignInForm(AdminAuthenticationForm):
    """Django's, but for limits on attempts, and that nobody gets past their own second factor.

    Whatever is wrong, the answer is the same: it tells nobody that a password was right.
    """

    error_messages = AdminAuthenticationForm.error_messages | {
        "invalid_login": "Please enter the address and the password of an operator. "
        "Operators with a second factor sign in at /accounts/login/ and open the console then."
    }

    def clean(self) -> dict[str, Any]:
        email = self.cleaned_data.get("username") or ""
        # The same counts as at /accounts/login/, so that nobody has twice as many attempts.
        adapter = get_adapter(self.request)
        if not ratelimit.consume(self.request, action="login"):
            raise adapter.validation_error("too_many_login_attempts")
        adapter.pre_authenticate(self.request, email=email)
        cleaned: dict[str, Any] = super().clean()
        adapter.forget_attempt()
        return cleaned

    def confirm_login_allowed(self, user: User) -> None:
        if not user.is_active or not user.is_staff or _has_factor(user):
            raise self.get_invalid_login_error()


def may_enter(request: HttpRequest) -> bool:
    """Whether this session has what the operator's rules want; one query where they want a second factor."""
    return not get_sign_up_settings().operators_need_second_factor or _used_factor(request)


def send_to_factor(request: HttpRequest) -> HttpResponse | None:
    """Where a signed-in operator gets or shows a missing second factor; None when that is not it."""
    user = request.user
    if not isinstance(user, User) or not user.has_perm("") or may_enter(request):
        return None
    if _has_factor(user):
        return redirect(f"{reverse('mfa_reauthenticate')}?{urlencode({'next': reverse('admin:index')})}")
    messages.warning(request, "The console wants a second factor: set one up, then open the console again.")
    return redirect("mfa_index")


def _has_factor(user: User) -> bool:
    factors = Authenticator.objects.filter(user_id=user.pk)
    return bool(factors.exclude(type=Authenticator.Type.RECOVERY_CODES).exists())


def _used_factor(request: HttpRequest) -> bool:
    user = request.user
    if not isinstance(user, User):
        return False
    return any(record.get("method") == "mfa" for record in get_authentication_records(request, user))
