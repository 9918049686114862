"""What an invited person sees, and whoever waits for the operator's word."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts import invitations
from apps.accounts.current import switch_account
from apps.accounts.errors import InvitationUnusable, SeatsTaken
from apps.accounts.limits import limited
from apps.accounts.models import User
from apps.accounts.pending import forget_invitation, keep_invitation
from apps.accounts.sign_up_models import Invitation
from apps.core import clock
from apps.portal.refusals.auditing import record_user_refused
from apps.portal.refusals.saying import error_text


@require_http_methods(["GET", "HEAD", "POST"])
@limited("invitation_link")
def join(request: HttpRequest, token: str) -> HttpResponseBase:
    """The page behind an invitation's link: says what it is for, and takes the answer."""
    try:
        invitation = invitations.access_invitation(token=token, now=clock.now())
    except InvitationUnusable as error:
        return render(request, "portal/people/join_ended.html", {"problem": error_text(error)}, status=410)
    user = request.user if isinstance(request.user, User) else None
    if request.method == "POST" and user is not None and invitation.account_id is not None:
        return _accept(request, token, user)
    if user is None:
        keep_invitation(request, token)
    return _show(request, invitation, user)


def _accept(request: HttpRequest, token: str, user: User) -> HttpResponseBase:
    try:
        membership = invitations.accept(token=token, user=user, now=clock.now())
    except (InvitationUnusable, SeatsTaken) as error:
        record_user_refused(request, user=user, code=error.code)
        messages.error(request, error_text(error))
        return redirect("portal:join", token=token)
    forget_invitation(request)
    switch_account(request, membership.account_id)
    messages.success(
        request, _("You are a member of %(account)s now.") % {"account": membership.account.name}
    )
    return redirect("portal:dashboard")


def _show(request: HttpRequest, invitation: Invitation, user: User | None) -> HttpResponseBase:
    context = {
        "invitation": invitation,
        "is_mine": user is not None and user.email.lower() == invitation.email.lower(),
        # The letter came to this address: whoever has it may know that the address has a user.
        "has_user": User.objects.filter(email__iexact=invitation.email).exists(),
    }
    response = render(request, "portal/people/join.html", context)
    add_never_cache_headers(response)
    return response


@require_safe
def awaiting_approval(request: HttpRequest) -> HttpResponseBase:
    """For whoever has signed up and must wait for the operator."""
    return render(request, "portal/people/awaiting_approval.html")
