"""Trials that are kept for somebody who is about to begin one elsewhere, such as at Stripe's checkout.

Of many who ask at once for the trial of one account, person or company, one gets it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership
from apps.core.db import require_transaction, take_transaction_lock
from apps.plans.models import TrialClaim
from apps.plans.trials import claimant_of, first_claimant

HOLDS_LAST: Final = timedelta(days=2)
"""Longer than a visit to Stripe's checkout can: a hold whose end nobody told of does not last for ever."""


def hold_trial(*, account: Account, holder: str, now: datetime) -> bool:
    """Keep the account's trial for `holder`, who may ask again; a part. False: somebody has or keeps it.

    That is the account itself, or another one of the same owners or their company.
    """
    require_transaction()
    owners = Membership.objects.filter(account=account, role=Role.OWNER)
    claimants = {claimant_of(email) for email in owners.values_list("user__email", flat=True)}
    claimants.add(first_claimant(account))
    # In one order, so that two with several owners in common do not wait for each other.
    for claimant in sorted(claimants):
        take_transaction_lock(f"plans.trial.{claimant}")
    siblings = Membership.objects.filter(role=Role.OWNER, user__in=owners.values("user"))
    whose = Q(account=account) | Q(claimant__in=claimants) | Q(account__in=siblings.values("account"))
    rows = TrialClaim.objects.filter(whose)
    rows.exclude(held_by="").filter(at__lt=now - HOLDS_LAST).delete()
    if rows.exclude(held_by=holder).exists():
        return False
    with transaction.atomic():
        TrialClaim.objects.get_or_create(
            account=account, defaults={"claimant": first_claimant(account), "at": now, "held_by": holder}
        )
    return True


def release_trial(*, holder: str) -> None:
    """Nobody began it: it is there for the next; a part. Once it has begun, this changes nothing."""
    require_transaction()
    if not holder:
        raise ValueError("a trial that was had cannot be released")
    TrialClaim.objects.filter(held_by=holder).delete()
