"""Signing secrets of accounts: shown once, replaced with an overlap."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.errors import InvalidField
from apps.webhooks.models import SigningSecret
from apps.webhooks.signing import secret_of, secret_text

NONCE_BYTES: Final = 32
HINT_CHARS: Final = 4
MAX_OVERLAP: Final = timedelta(days=7)
# Signs for accounts that have not asked for a secret yet.
FIRST_NONCE: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A new secret, with the only copy of its text there will ever be."""

    row: SigningSecret
    text: str


def rotate_secret(*, account: Account, overlap: timedelta, actor: Ref, now: datetime) -> NewSecret:
    """Make the account's next secret; the one before goes on signing beside it for `overlap`.

    Raises InvalidField for an overlap that is negative or longer than a week.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        limit_s = int(MAX_OVERLAP.total_seconds())
        raise InvalidField(
            field="overlap_s", problem=f"must be 0 to {limit_s}, not {overlap.total_seconds():.0f}"
        )
    nonce = randomness.token_hex(NONCE_BYTES)
    text = secret_text(secret_of(account_id=account.pk, nonce=nonce))
    with transaction.atomic(durable=True):
        # Two at once would both become the present secret.
        Account.objects.select_for_update().get(pk=account.pk)
        SigningSecret.objects.filter(account=account, ends_at=None).update(ends_at=now + overlap)
        row = SigningSecret.objects.create(
            account=account, nonce=nonce, hint=text[-HINT_CHARS:], created_at=now
        )
        audit.record(
            "webhooks.secret.rotated",
            actor=actor,
            subject=account.ref,
            account_id=account.pk,
            data={"overlap_s": int(overlap.total_seconds())},
            now=now,
        )
    return NewSecret(row=row, text=text)


def list_secrets(*, account: Account, now: datetime) -> QuerySet[SigningSecret]:
    """Those that sign at present, newest first."""
    return SigningSecret.objects.filter(account=account).filter(Q(ends_at=None) | Q(ends_at__gt=now))


def signing_secrets(*, account_ids: Collection[int], now: datetime) -> Mapping[int, list[bytes]]:
    """For each account the secrets that sign now, newest first; never none."""
    found: dict[int, list[bytes]] = {account_id: [] for account_id in account_ids}
    rows = SigningSecret.objects.filter(Q(ends_at=None) | Q(ends_at__gt=now), account_id__in=account_ids)
    for row in rows:
        found[row.account_id].append(secret_of(account_id=row.account_id, nonce=row.nonce))
    return {
        account_id: secrets or [secret_of(account_id=account_id, nonce=FIRST_NONCE)]
        for account_id, secrets in found.items()
    }


def forget_ended_secrets(*, now: datetime) -> int:
    """Delete secrets whose overlap is over; how many."""
    count, _ = SigningSecret.objects.filter(ends_at__lte=now).delete()
    return count
