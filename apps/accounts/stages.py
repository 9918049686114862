"""The last step of signing in: whoever has nothing but accounts that await approval is told so."""

from __future__ import annotations

from typing import Final

from allauth.account.internal.stagekit import clear_login
from allauth.account.stages import LoginStage
from django.http import HttpResponse
from django.shortcuts import redirect

from apps.accounts.models import Account, User

APPROVAL_STAGE: Final = "apps.accounts.stages.ApprovalStage"


class ApprovalStage(LoginStage):  # type: ignore[misc]  # allauth ships no types
    """Comes after the address and the second factor were proven, so that it tells a stranger nothing."""

    key = "approval"

    def handle(self) -> tuple[HttpResponse | None, bool]:
        if not _waits(self.login.user):
            return None, True
        clear_login(self.request)
        return redirect("portal:awaiting_approval"), False


def _waits(user: User) -> bool:
    accounts = Account.objects.filter(memberships__user=user)
    return (
        accounts.filter(awaits_approval=True, closed_at=None).exists()
        and not accounts.filter(awaits_approval=False).exists()
    )
