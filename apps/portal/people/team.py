"""The team of the present account: members, roles, invitations."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.accounts import invitations, members
from apps.accounts.choices import Role
from apps.accounts.models import Membership
from apps.accounts.roles import can
from apps.accounts.sign_up_models import Invitation
from apps.core import clock
from apps.portal.access import access_row, page
from apps.portal.people.forms import InviteForm, role_choices

BACK = "portal:team"


@require_safe
@page(permission="team")
def team(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Who belongs to the account and who is asked to."""
    return _show(request, membership, InviteForm(is_owner=membership.role == Role.OWNER))


def _show(
    request: HttpRequest, membership: Membership, form: InviteForm, *, status: int = 200
) -> HttpResponseBase:
    is_owner = membership.role == Role.OWNER
    people = Membership.objects.filter(account=membership.account).select_related("user")
    asked = Invitation.objects.filter(account=membership.account, accepted_at=None, revoked_at=None)
    context = {
        "membership": membership,
        "members": people.order_by("created_at", "pk"),
        "invitations": asked.order_by("created_at", "pk"),
        "form": form,
        "is_owner": is_owner,
        "roles": role_choices(is_owner=is_owner),
        "now": clock.now(),
    }
    return render(request, "portal/people/team.html", context, status=status)


@require_POST
@page(permission="team", back=BACK)
def invite(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Send an invitation."""
    form = InviteForm(request.POST, is_owner=membership.role == Role.OWNER)
    if not form.is_valid():
        return _show(request, membership, form, status=400)
    email, role = form.cleaned_data["email"], Role(form.cleaned_data["role"])
    invitations.invite(by=membership, email=email, role=role, now=clock.now())
    messages.success(request, _("%(email)s gets a mail with a link.") % {"email": email})
    return redirect(BACK)


@require_POST
@page(permission="team", back=BACK)
def send_again(request: HttpRequest, membership: Membership, invitation_id: int) -> HttpResponseBase:
    """Send a new letter for an invitation."""
    invitation = _invitation(request, membership, invitation_id)
    invitations.send_again(invitation=invitation, actor=membership.user.ref, now=clock.now())
    messages.success(request, _("%(email)s gets a mail with a link.") % {"email": invitation.email})
    return redirect(BACK)


@require_POST
@page(permission="team", back=BACK)
def revoke(request: HttpRequest, membership: Membership, invitation_id: int) -> HttpResponseBase:
    """Take an invitation back."""
    invitation = _invitation(request, membership, invitation_id)
    invitations.revoke(invitation=invitation, actor=membership.user.ref, now=clock.now())
    messages.success(request, _("The invitation is taken back."))
    return redirect(BACK)


def _invitation(request: HttpRequest, membership: Membership, invitation_id: int) -> Invitation:
    rows = Invitation.objects.all()
    return access_row(rows, request=request, account=membership.account, pk=invitation_id)


@require_POST
@page(permission="team", back=BACK)
def change_role(request: HttpRequest, membership: Membership, member_id: int) -> HttpResponseBase:
    """Give a member another role."""
    member = _member(request, membership, member_id)
    if request.POST.get("role") not in Role.values:
        raise Http404
    members.change_role(by=membership, member_id=member.pk, role=Role(request.POST["role"]), now=clock.now())
    messages.success(request, _("The role is changed."))
    # Whoever has made themselves something less may not see the team any more.
    membership.refresh_from_db()
    return redirect(BACK if can(membership, "team") else "portal:dashboard")


@require_POST
@page(permission="team", back=BACK)
def remove(request: HttpRequest, membership: Membership, member_id: int) -> HttpResponseBase:
    """Take a member out of the account."""
    member = _member(request, membership, member_id)
    members.remove_member(by=membership, member_id=member.pk, now=clock.now())
    messages.success(request, _("%(email)s is no longer a member.") % {"email": member.user.email})
    return redirect(BACK if member.pk != membership.pk else "portal:account")


@require_POST
@page(permission="account", back=BACK)
@reauthentication_required  # type: ignore[untyped-decorator]  # allauth ships no types
def hand_over(request: HttpRequest, membership: Membership, member_id: int) -> HttpResponseBase:
    """Make a member the owner, and oneself an administrator."""
    member = _member(request, membership, member_id)
    members.transfer_ownership(by=membership, member_id=member.pk, now=clock.now())
    messages.success(request, _("%(email)s owns the account now.") % {"email": member.user.email})
    return redirect(BACK)


def _member(request: HttpRequest, membership: Membership, member_id: int) -> Membership:
    rows = Membership.objects.select_related("user")
    return access_row(rows, request=request, account=membership.account, pk=member_id)
