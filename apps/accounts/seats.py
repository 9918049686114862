"""How many people an account may have. Its plan says; plans are above us and asked through a setting."""

from __future__ import annotations

from django.conf import settings
from django.utils.module_loading import import_string

from apps.accounts.errors import SeatsTaken
from apps.accounts.models import Account
from apps.accounts.sign_up_models import Invitation
from apps.core.db import require_transaction


def lock_account(account: Account) -> Account:
    """The account's row, locked: whoever changes its team waits here for the other; a part."""
    require_transaction()
    return Account.objects.select_for_update().get(pk=account.pk)


def require_seat(locked: Account, *, with_invitations: bool) -> None:
    """Raises SeatsTaken when nobody more fits. `locked` is from `lock_account`, so that the count stands.

    Open invitations count where a further one is asked for; the guest who comes sits on their own.
    """
    require_transaction()
    seats = import_string(settings.SEATS_OF)(locked) if settings.SEATS_OF else None
    if seats is None:
        return
    taken = locked.memberships.count()
    if with_invitations:
        taken += Invitation.objects.filter(account=locked, accepted_at=None, revoked_at=None).count()
    if taken >= seats:
        raise SeatsTaken(seats=seats)
