"""Issuing, checking, replacing and ending API keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.crypto import constant_time_compare

from apps.accounts.models import Account
from apps.apikeys import keytext
from apps.apikeys.choices import Scope
from apps.apikeys.errors import ApiKeyInvalid, ApiKeyMissing, ScopeMissing
from apps.apikeys.models import ApiKey
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.core.errors import Conflict, InvalidField

LAST_USED_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new key with the only copy of its text there will ever be."""

    key: ApiKey
    plaintext: str


def insert_api_key(
    *,
    account: Account,
    name: str,
    scopes: Sequence[Scope],
    actor: Ref,
    now: datetime,
    expires_at: datetime | None = None,
    allowed_checkpoints: Sequence[str] = (),
    allowed_addresses: Sequence[str] = (),
    daily_cap: int | None = None,
    monthly_cap: int | None = None,
) -> IssuedKey:
    """Issue a key; a part.

    Raises InvalidField for no scope, a blank name, a past expiry or a malformed network.
    """
    require_transaction()
    if not name.strip() or len(name) > 100:
        raise InvalidField(field="name", problem="must be 1 to 100 characters")
    if not scopes:
        raise InvalidField(field="scopes", problem="must name at least one scope")
    if expires_at is not None and expires_at <= now:
        raise InvalidField(field="expires_at", problem="must lie in the future")
    networks = [_network(text) for text in allowed_addresses]
    text = keytext.generate()
    key = ApiKey(
        account=account,
        name=name.strip(),
        prefix=text.prefix,
        digest=text.digest(pepper=settings.API_KEY_PEPPER),
        scopes=[scope.value for scope in scopes],
        allowed_checkpoints=list(allowed_checkpoints),
        allowed_addresses=networks,
        daily_cap=daily_cap,
        monthly_cap=monthly_cap,
        expires_at=expires_at,
        created_at=now,
    )
    _insert(key, name="apikeys.key.created", actor=actor, now=now)
    return IssuedKey(key=key, plaintext=text.plaintext)


# Durable: the text of a key is shown once, so no outer transaction may take the key back.
create_api_key = transaction.atomic(durable=True)(insert_api_key)
"""Issue a key, as an act of its own."""


def _network(text: str) -> str:
    try:
        return str(ip_network(text.strip()))
    except ValueError as error:
        raise InvalidField(field="allowed_addresses", problem=f"is not in CIDR form: {error}") from None


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


def rotate_api_key(*, key: ApiKey, overlap: timedelta, actor: Ref, now: datetime) -> IssuedKey:
    """Issue a successor with the same rights; the old key goes on working for `overlap`.

    Never longer than it would have. Raises Conflict when it is revoked, expired or already has a successor,
    or is the portal's.
    """
    _require_customers(key)
    text = keytext.generate()
    successor = ApiKey(
        account=key.account,
        name=key.name,
        prefix=text.prefix,
        digest=text.digest(pepper=settings.API_KEY_PEPPER),
        scopes=key.scopes,
        allowed_checkpoints=key.allowed_checkpoints,
        allowed_addresses=key.allowed_addresses,
        daily_cap=key.daily_cap,
        monthly_cap=key.monthly_cap,
        expires_at=key.expires_at,
        created_at=now,
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
