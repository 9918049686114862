"""Issuing, checking, replacing and ending API keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.crypto import constant_time_compare

from apps.accounts.models import Account
from apps.apikeys import keytext
from apps.apikeys.choices import Scope
from apps.apikeys.errors import ApiKeyInvalid, ApiKeyMissing, ScopeMissing
from apps.apikeys.models import ApiKey
from apps.apikeys.terms import KeyTerms, terms_of
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.core.errors import Conflict

LAST_USED_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key with the only copy of its text there will ever be."""

    key: ApiKey
    plaintext: str


def insert_api_key(*, account: Account, terms: KeyTerms, actor: Ref, now: datetime) -> IssuedKey:
    """Issue a key; a part. Raises InvalidField, as `KeyTerms.checked`."""
    require_transaction()
    text = keytext.generate()
    key = ApiKey(
        account=account,
        prefix=text.prefix,
        digest=text.digest(pepper=settings.API_KEY_PEPPER),
        created_at=now,
        **terms.checked(now=now).fields(),
    )
    _insert(key, name="apikeys.key.created", actor=actor, now=now)
    return IssuedKey(key=key, plaintext=text.plaintext)


# Durable: the text of a key is shown once, so no outer transaction may take the key back.
create_api_key = transaction.atomic(durable=True)(insert_api_key)
"""Issue a key, as an act of its own."""


def _insert(key: ApiKey, *, name: str, actor: Ref, now: datetime) -> None:
    require_transaction()
    key.save(force_insert=True)
    audit.record(
        name, actor=actor, subject=key.ref, account_id=key.account_id, data={"scopes": key.scopes}, now=now
    )


def authenticate(*, presented: str, address: str | None, now: datetime) -> ApiKey:
    """The usable key behind `presented`, with `.account` loaded; one query, and none for a mistyped key.

    Raises ApiKeyMissing for an empty string, otherwise ApiKeyInvalid: expired, revoked and unknown keys
    look the same to the caller. There is no cache, so that a revocation holds from the next request on.
    """
    if not presented.strip():
        raise ApiKeyMissing
    text = keytext.parse(presented)
    if text is None:
        raise ApiKeyInvalid
    key = ApiKey.objects.select_related("account").filter(prefix=text.prefix).first()
    if key is None or key.is_portal:
        raise ApiKeyInvalid
    is_genuine = constant_time_compare(key.digest, text.digest(pepper=settings.API_KEY_PEPPER))
    if not (is_genuine and key.is_usable(now=now) and key.allows_address(address)):
        raise ApiKeyInvalid
    note_use(key, now=now)
    return key


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Write `last_used_at`, at most once a minute whatever the number of processes."""
    stale = now - LAST_USED_RESOLUTION
    if key.last_used_at is not None and key.last_used_at > stale:
        return
    ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=stale), pk=key.pk).update(
        last_used_at=now
    )
    key.last_used_at = now


def require_scope(*, key: ApiKey, scope: Scope) -> None:
    """Raises ScopeMissing unless the key was made for `scope`."""
    if not key.allows_scope(scope):
        raise ScopeMissing(scope=scope.value)


def end_api_key(*, key: ApiKey, actor: Ref, now: datetime) -> None:
    """End a key at once; a part. Raises Conflict when it was revoked before, or is the portal's."""
    require_transaction()
    _require_customers(key)
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now) != 1:
        raise Conflict(problem="This API key is already revoked.")
    audit.record("apikeys.key.revoked", actor=actor, subject=key.ref, account_id=key.account_id, now=now)
    key.revoked_at = now


revoke_api_key = transaction.atomic(durable=True)(end_api_key)
"""End a key at once, as an act of its own."""


def edit_api_key(*, key: ApiKey, terms: KeyTerms, actor: Ref, now: datetime) -> ApiKey:
    """Give a key another name, other rights and limits; its text stays. Jobs that are queued keep theirs.

    The audit log says what has changed; nothing is written when nothing has.
    Raises InvalidField, as `KeyTerms.checked`, and Conflict for a key that has ended, or is the portal's.
    """
    _require_customers(key)
    with transaction.atomic(durable=True):
        # Locked, as by whoever revokes or replaces it. Not FOR UPDATE: jobs that refer to it need not wait.
        live = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        if live.revoked_at is not None or live.has_expired(now=now):
            raise Conflict(problem="This API key has ended; make another.")
        before, after = terms_of(live).fields(), terms.checked(now=now).fields()
        changed = [name for name in after if after[name] != before[name]]
        if changed:
            ApiKey.objects.filter(pk=key.pk).update(**{name: after[name] for name in changed})
            live.refresh_from_db()
            data = {name: [_plain(before[name]), _plain(after[name])] for name in changed}
            audit.record(
                "apikeys.key.edited",
                actor=actor,
                subject=live.ref,
                account_id=live.account_id,
                data=data,
                now=now,
            )
    return live


def _plain(value: Any) -> Any:
    """Any: JSON of a key's field."""
    return value.isoformat() if isinstance(value, datetime) else value


def rotate_api_key(*, key: ApiKey, overlap: timedelta, actor: Ref, now: datetime) -> IssuedKey:
    """Issue a successor with the same rights; the old key goes on working for `overlap`.

    Never longer than it would have. Raises Conflict when it is revoked, expired or already has a successor,
    or is the portal's.
    """
    _require_customers(key)
    text = keytext.generate()
    successor = ApiKey(
        account=key.account,
        prefix=text.prefix,
        digest=text.digest(pepper=settings.API_KEY_PEPPER),
        created_at=now,
        **terms_of(key).fields(),
    )
    end = now + overlap
    if key.expires_at is not None:
        end = min(end, key.expires_at)
    with transaction.atomic(durable=True):
        _insert(successor, name="apikeys.key.rotated", actor=actor, now=now)
        live = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), pk=key.pk, revoked_at=None)
        if live.filter(replaced_by=None).update(replaced_by=successor, expires_at=end) != 1:
            raise Conflict(problem="This API key has ended or was replaced before.")
    key.replaced_by, key.expires_at = successor, end
    return IssuedKey(key=successor, plaintext=text.plaintext)


def _require_customers(key: ApiKey) -> None:
    if key.is_portal:
        raise Conflict(
            problem="The portal's own key has no text to replace and cannot end; change roles instead."
        )
