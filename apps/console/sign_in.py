"""How operators come into the console: by password, and with a second factor where they have one or must.

The console's own form knows passwords alone. Whoever has a second factor signs in at /accounts/login/, which
asks for it; where the rules want one of everybody, a session without it is sent to get one.
"""

from __future__ import annotations

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from apps.accounts.models import User
from apps.accounts.openings import get_sign_up_settings


class ConsoleSignInForm(AdminAuthenticationForm):
    """Django's, but that it does not let anybody in past their own second factor."""

    def confirm_login_allowed(self, user: User) -> None:
        super().confirm_login_allowed(user)
        if _has_factor(user):
            raise ValidationError(
                "This operator has a second factor: sign in at /accounts/login/ and open the console then.",
                code="second_factor_needed",
            )


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
