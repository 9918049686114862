"""Refusals on pages in the audit log: who was refused what, and nothing else has changed."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest

from apps.accounts.models import Membership, User
from apps.audit import services as audit
from apps.core import clock

MAX_PATH = 200


def record_refused(request: HttpRequest, *, membership: Membership, code: str) -> None:
    """`portal.refused`, of the account, by the refusal's code."""
    with transaction.atomic():
        audit.record(
            "portal.refused",
            actor=membership.user.ref,
            subject=membership.account.ref,
            account_id=membership.account_id,
            data=_asked(request, code),
            now=clock.now(),
        )


def record_user_refused(request: HttpRequest, *, user: User, code: str) -> None:
    """The same of somebody's own pages, which belong to no account."""
    with transaction.atomic():
        audit.record(
            "portal.refused", actor=user.ref, subject=user.ref, data=_asked(request, code), now=clock.now()
        )


def _asked(request: HttpRequest, code: str) -> dict[str, str]:
    return {"code": code, "path": request.path[:MAX_PATH], "method": request.method or ""}
