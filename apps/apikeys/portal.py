"""The key of an account that stands for its members in the portal.

What they make in a browser is counted, capped and listed like any other use, under a key of its own. Nobody
has its text: the digest belongs to none, and `authenticate` refuses the row besides.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction

from apps.accounts.models import Account
from apps.apikeys.choices import DEFAULT_SCOPES
from apps.apikeys.keytext import PREFIX_LENGTH
from apps.apikeys.models import ApiKey
from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.core.ids import random_token

NAME: Final = "Portal"
DIGEST_BYTES: Final = 32


def portal_key(*, account: Account, now: datetime) -> ApiKey:
    """The account's portal key, made when it is asked for first; two at once get the same."""
    return _find(account) or _make(account, now=now)


def _find(account: Account) -> ApiKey | None:
    return ApiKey.objects.select_related("account").filter(account=account, is_portal=True).first()


def _make(account: Account, *, now: datetime) -> ApiKey:
    key = ApiKey(
        account=account,
        name=NAME,
        prefix=random_token(PREFIX_LENGTH),
        digest=secrets.token_hex(DIGEST_BYTES),
        scopes=[scope.value for scope in DEFAULT_SCOPES],
        created_at=now,
        is_portal=True,
    )
    try:
        with transaction.atomic():
            key.save(force_insert=True)
            audit.record(
                "apikeys.portal_key.created",
                actor=SYSTEM,
                subject=key.ref,
                account_id=account.pk,
                data={"scopes": key.scopes},
                now=now,
            )
    except IntegrityError:
        # Another request was faster; its row is there for good.
        return ApiKey.objects.select_related("account").get(account=account, is_portal=True)
    return key
