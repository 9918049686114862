"""Forms that make something are obeyed once, however often they are sent."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from apps.accounts.models import Account
from apps.core.errors import Conflict
from apps.generation.idempotency import make_claim, take_key
from apps.portal.access import form_token


def require_first(request: HttpRequest, *, account: Account, now: datetime) -> None:
    """Takes the form's token. For acts whose answer is shown once and cannot be shown again.

    Raises InvalidField for a missing token, and Conflict for one that was taken before.
    """
    claim = make_claim(key=f"portal-{form_token(request)}", method="POST", path=request.path, body=b"")
    with transaction.atomic():
        taken = take_key(account_id=account.pk, claim=claim, now=now)
    if taken is None:
        raise Conflict(problem=_("This form was already sent; what it made is in the list."))
