"""The invitation that a visitor came with: its token waits in the session until they have an account."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.http import HttpRequest

from apps.accounts.errors import InvitationUnusable
from apps.accounts.invitations import access_invitation
from apps.accounts.sign_up_models import Invitation

SESSION_KEY: Final = "invitation_token"


def keep_invitation(request: HttpRequest, token: str) -> None:
    """Remember the letter that brought this visitor."""
    request.session[SESSION_KEY] = token


def find_pending_invitation(request: HttpRequest, *, now: datetime) -> Invitation | None:
    """The visitor's invitation while it is open; None when there is none, or no longer."""
    token = request.session.get(SESSION_KEY)
    if token is None:
        return None
    try:
        return access_invitation(token=token, now=now)
    except InvitationUnusable:
        forget_invitation(request)
        return None


def forget_invitation(request: HttpRequest) -> None:
    """Once it was used."""
    request.session.pop(SESSION_KEY, None)
