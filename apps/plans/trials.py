"""Who may try a plan: each account once, and each e-mail domain of owners once."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership
from apps.core.db import require_transaction
from apps.plans.errors import SubscriptionConflict
from apps.plans.models import TrialClaim

# Of these every address is a customer of its own.
EVERYBODYS_DOMAINS: Final = frozenset(
    {
        "aol.com",
        "fastmail.com",
        "gmail.com",
        "gmx.de",
        "gmx.net",
        "googlemail.com",
        "hotmail.com",
        "icloud.com",
        "live.com",
        "mail.com",
        "mail.ru",
        "me.com",
        "msn.com",
        "outlook.com",
        "posteo.de",
        "proton.me",
        "protonmail.com",
        "qq.com",
        "t-online.de",
        "web.de",
        "yahoo.com",
        "yandex.ru",
    }
)


def claimant_of(email: str) -> str:
    """One customer: the domain, or the address without `+tag` where the domain is everybody's."""
    name, _, domain = email.lower().rpartition("@")
    if domain not in EVERYBODYS_DOMAINS:
        return domain
    return f"{name.partition('+')[0]}@{domain}"


def note_trial(*, account: Account, now: datetime) -> None:
    """A trial that somebody else has given, as Stripe does, is this account's one as well; a part."""
    require_transaction()
    TrialClaim.objects.bulk_create(
        [TrialClaim(account=account, claimant=first_claimant(account), at=now)], ignore_conflicts=True
    )
    TrialClaim.objects.filter(account=account).exclude(held_by="").update(held_by="")


def first_claimant(account: Account) -> str:
    """Whom the account's claim is written down for: its first owner."""
    owners = Membership.objects.filter(account=account, role=Role.OWNER).select_related("user")
    owner = owners.order_by("pk").first()
    # An account without people is an operator's doing; it counts for itself.
    return claimant_of(owner.user.email) if owner else f"account:{account.slug}"


def claim_trial(*, account: Account, now: datetime) -> None:
    """Use up the account's trial; a part.

    Raises SubscriptionConflict where the account or another of the same owner or company has had one.
    """
    require_transaction()
    try:
        with transaction.atomic():
            TrialClaim.objects.create(account=account, claimant=first_claimant(account), at=now)
    except IntegrityError:
        raise SubscriptionConflict(
            problem="There has been a trial for this account or company before; choose a plan instead."
        ) from None
