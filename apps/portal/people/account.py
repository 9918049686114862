"""One's own profile and security, the accounts one belongs to, and closing the present one."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.accounts import closing, members, openings, sessions
from apps.accounts.current import current_membership, refuse_account, switch_account
from apps.accounts.models import Membership, User
from apps.accounts.profiles import change_profile
from apps.core import clock
from apps.core.errors import InvalidField
from apps.portal.access import page, read_id
from apps.portal.people.forms import NewAccountForm, ProfileForm
from apps.portal.people.signed_in import signed_in


@require_safe
@signed_in
def account(request: HttpRequest, user: User) -> HttpResponseBase:
    """Everything about the user on one page."""
    return _show(request, user, _profile_form(user), NewAccountForm())


def _profile_form(user: User) -> ProfileForm:
    return ProfileForm(initial={"name": user.name, "language": user.language, "time_zone": user.time_zone})


def _show(
    request: HttpRequest,
    user: User,
    profile_form: ProfileForm,
    new_form: NewAccountForm,
    *,
    status: int = 200,
) -> HttpResponseBase:
    now = clock.now()
    rules = openings.get_sign_up_settings()
    memberships = Membership.objects.filter(user=user, account__closed_at=None).select_related("account")
    context = {
        "membership": current_membership(request),
        "profile_form": profile_form,
        "new_form": new_form,
        "may_open": rules.self_service and not rules.invitation_only,
        "mine": memberships.order_by("account__name", "pk"),
        "reopenable": closing.list_reopenable(user=user, now=now),
        "grace_days": closing.GRACE.days,
        "factors": Authenticator.objects.filter(user=user).exclude(type="recovery_codes").count(),
        "sessions": UserSession.objects.filter(user=user).count(),
        "providers": SocialApp.objects.exists() or SocialAccount.objects.filter(user=user).exists(),
    }
    return render(request, "portal/people/account.html", context, status=status)


@require_POST
@signed_in
def profile(request: HttpRequest, user: User) -> HttpResponseBase:
    """Change one's name, language and time zone."""
    form = ProfileForm(request.POST)
    if not form.is_valid():
        return _show(request, user, form, NewAccountForm(), status=400)
    change_profile(user=user, **form.cleaned_data, now=clock.now())
    response = redirect("portal:account")
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        form.cleaned_data["language"],
        max_age=settings.LANGUAGE_COOKIE_AGE,
        samesite="Lax",
        secure=settings.LANGUAGE_COOKIE_SECURE,
    )
    messages.success(request, _("Saved."))
    return response


@require_POST
@signed_in
def open_new(request: HttpRequest, user: User) -> HttpResponseBase:
    """Open one more account and look at it."""
    form = NewAccountForm(request.POST)
    if not form.is_valid():
        return _show(request, user, _profile_form(user), form, status=400)
    opened = openings.open_further_account(owner=user, name=form.cleaned_data["name"], now=clock.now())
    if opened.awaits_approval:
        messages.info(request, _("The operator looks at the new account first; you will get a mail."))
        return redirect("portal:account")
    switch_account(request, opened.pk)
    messages.success(request, _("The account is open."))
    return redirect("portal:dashboard")


@require_POST
@signed_in
def leave(request: HttpRequest, user: User) -> HttpResponseBase:
    """Leave one of one's accounts. Raises Http404 for others."""
    # The same door as everywhere turns strangers away, and writes it down.
    membership = switch_account(request, _account_id(request))
    members.leave(membership=membership, now=clock.now())
    messages.success(request, _("You have left %(account)s.") % {"account": membership.account.name})
    return redirect("portal:account")


@require_POST
@signed_in
def end_session(request: HttpRequest, user: User, session_id: int) -> HttpResponseBase:
    """Sign another browser of one's own out. Raises Http404 for others'."""
    if UserSession.objects.filter(pk=session_id, session_key=request.session.session_key).exists():
        return redirect("account_logout")
    sessions.end_session(user=user, session_id=session_id)
    messages.success(request, _("Signed out there."))
    return redirect("usersessions_list")


def _account_id(request: HttpRequest) -> int:
    account_id = read_id(request.POST.get("account", ""))
    if account_id is None:
        raise Http404
    return account_id


@require_POST
@page(permission="account", back="portal:account")
@reauthentication_required  # type: ignore[untyped-decorator]  # allauth ships no types
def close(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Close the present account, once its name was typed."""
    if request.POST.get("name", "").strip() != membership.account.name:
        raise InvalidField(field="name", problem="is not the account's: nothing was closed")
    closing.close_account(by=membership, now=clock.now())
    messages.success(request, _("The account is closed. You can open it again for thirty days."))
    return redirect("portal:account")


@require_POST
@signed_in
def reopen(request: HttpRequest, user: User) -> HttpResponseBase:
    """Open a closed account again. Raises Http404 for others'."""
    account_id = _account_id(request)
    if not Membership.objects.filter(user=user, account_id=account_id).exists():
        refuse_account(user, account_id)
    opened = closing.reopen_account(user=user, account_id=account_id, now=clock.now())
    switch_account(request, opened.pk)
    messages.success(request, _("The account is open again."))
    return redirect("portal:dashboard")
