"""How many members an account may have: by its plan, and by the licence of the installation."""

from __future__ import annotations

from django.db.models import QuerySet

from apps.accounts.models import Account, Membership
from apps.core import clock
from apps.core.db import take_transaction_lock
from apps.plans.entitlements import Unlimited
from apps.plans.licensing import covered_accounts, present_licence
from apps.plans.selectors import get_entitlements

SEATS_LOCK = "plans.licence.seats"


def seats_of(account: Account) -> int | None:
    """Most members of `account`, those it has included; None is no limit. A part: the account is locked.

    A licence's seats are shared by all accounts that it covers: whoever asks waits for whoever asked before.
    """
    limits = [limit for limit in (_by_plan(account), _by_licence(account)) if limit is not None]
    return min(limits, default=None)


def _by_plan(account: Account) -> int | None:
    seats = get_entitlements(account).seats
    return None if isinstance(seats, Unlimited) else seats


def _by_licence(account: Account) -> int | None:
    licence = present_licence(now=clock.now())
    if licence is None or licence.seats is None:
        return None
    covered = covered_accounts(licence)
    if not covered.filter(pk=account.pk).exists():
        return None
    take_transaction_lock(SEATS_LOCK)
    everybody = taken_seats(covered)
    here = Membership.objects.filter(account=account).count()
    return here + max(0, licence.seats - everybody)


def taken_seats(accounts: QuerySet[Account]) -> int:
    """Memberships of people who may sign in; somebody in two accounts takes two seats."""
    return Membership.objects.filter(account__in=accounts, user__is_active=True).count()
