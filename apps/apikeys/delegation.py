"""Keys that make keys: what a key passes on is at most what it has.

A key is no stronger than another if it has no scope, model, address, hour or call a day that the other lacks.
What counts is the maker as it is when it acts, its row locked: whoever revokes or rotates it comes before its
last act or after it, not in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from django.db import transaction

from apps.apikeys.choices import DEFAULT_SCOPES, Scope
from apps.apikeys.errors import ApiKeyInvalid, KeyStronger
from apps.apikeys.models import ApiKey
from apps.apikeys.services import IssuedKey, end_api_key, insert_api_key, require_scope
from apps.core.errors import Conflict, InvalidField, NotFound


def issue_by_key(
    *,
    maker: ApiKey,
    name: str,
    scopes: Sequence[Scope] | None,
    expires_at: datetime | None,
    allowed_checkpoints: Sequence[str],
    allowed_addresses: Sequence[str],
    daily_cap: int | None,
    monthly_cap: int | None = None,
    now: datetime,
) -> IssuedKey:
    """A key of the maker's account, no stronger than the maker.

    What is not asked for is as with the maker; scopes are then the usual ones that the maker has.

    Raises ScopeMissing for a scope that the maker lacks, InvalidField for anything else that it may not pass
    on, ApiKeyInvalid for a maker that has ended meanwhile, and Conflict for makers with a cap on calls: two
    keys with it would be twice the cap.
    """
    with transaction.atomic(durable=True):
        live = _lock(maker, now=now)[maker.pk]
        if live.daily_cap is not None or live.monthly_cap is not None:
            cap = "daily" if live.daily_cap is not None else "monthly"
            raise Conflict(
                problem=f"A key with a {cap} cap makes no other keys; use one without, or the console."
            )
        wanted = [scope for scope in DEFAULT_SCOPES if live.allows_scope(scope)] if scopes is None else scopes
        for scope in wanted:
            require_scope(key=live, scope=scope)
        return insert_api_key(
            account=live.account,
            name=name,
            scopes=list(dict.fromkeys(wanted)),
            actor=live.ref,
            now=now,
            expires_at=_end(live, expires_at),
            allowed_checkpoints=_models(live, allowed_checkpoints),
            allowed_addresses=_addresses(live, allowed_addresses),
            daily_cap=daily_cap,
            monthly_cap=monthly_cap,
        )


def revoke_by_key(*, maker: ApiKey, prefix: str, now: datetime) -> ApiKey:
    """End a key of the maker's account, unless it can do more than the maker; the maker itself always may be.

    Raises NotFound, ScopeMissing for a key with more scopes, KeyStronger for one with fewer limits,
    ApiKeyInvalid for a maker that has ended meanwhile, and Conflict when the key was revoked before.
    """
    found = access_key(maker=maker, prefix=prefix)
    with transaction.atomic(durable=True):
        rows = _lock(maker, found, now=now)
        live, key = rows[maker.pk], rows[found.pk]
        if key != live:
            _require_no_stronger(key, live)
        end_api_key(key=key, actor=live.ref, now=now)
    return key


def _lock(maker: ApiKey, *others: ApiKey, now: datetime) -> dict[int, ApiKey]:
    """The keys as they are now, by primary key, their rows locked. Raises ApiKeyInvalid for an ended maker.

    In the order of primary keys: two keys that end each other would otherwise wait for each other.
    """
    asked = ApiKey.objects.filter(pk__in=[key.pk for key in (maker, *others)])
    # Not FOR UPDATE: jobs that refer to the key need not wait.
    locked = asked.select_related("account").select_for_update(of=("self",), no_key=True).order_by("pk")
    rows = {key.pk: key for key in locked}
    if maker.pk not in rows or not rows[maker.pk].is_usable(now=now):
        raise ApiKeyInvalid
    return rows


def _require_no_stronger(key: ApiKey, maker: ApiKey) -> None:
    for scope in key.scopes:
        require_scope(key=maker, scope=Scope(scope))
    excess = next(_excesses(key, maker), None)
    if excess is not None:
        raise KeyStronger(prefix=key.prefix, excess=excess)


def _excesses(key: ApiKey, maker: ApiKey) -> Iterator[str]:
    """What `key` may and `maker` may not, scopes aside, in words. An empty list and None are no limit."""
    if maker.expires_at is not None and (key.expires_at is None or key.expires_at > maker.expires_at):
        yield "works longer"
    models = set(key.allowed_checkpoints)
    if maker.allowed_checkpoints and not (models and models.issubset(maker.allowed_checkpoints)):
        yield "may use other models"
    networks = [ip_network(text) for text in key.allowed_addresses]
    if maker.allowed_addresses and not (networks and all(_is_covered(each, maker) for each in networks)):
        yield "works from other networks"
    if maker.daily_cap is not None and (key.daily_cap is None or key.daily_cap > maker.daily_cap):
        yield "may make more calls a day"
    if maker.monthly_cap is not None and (key.monthly_cap is None or key.monthly_cap > maker.monthly_cap):
        yield "may make more calls a month"


def access_key(*, maker: ApiKey, prefix: str) -> ApiKey:
    """A key of the same account by its public part. Raises NotFound."""
    # The database refuses to look for some texts, such as those with NUL.
    is_possible = prefix.isascii() and prefix.isalnum()
    found = (
        ApiKey.objects.filter(account_id=maker.account_id, prefix=prefix, is_portal=False).first()
        if is_possible
        else None
    )
    if found is None:
        raise NotFound(what="API key", id=prefix[:40])
    return found


def _end(maker: ApiKey, asked: datetime | None) -> datetime | None:
    if maker.expires_at is None:
        return asked
    if asked is not None and asked > maker.expires_at:
        raise InvalidField(
            field="expires_at",
            problem=f"must not be after the end of the key that asks, {maker.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        )
    return asked or maker.expires_at


def _models(maker: ApiKey, asked: Sequence[str]) -> Sequence[str]:
    beyond = [name for name in asked if not maker.allows_checkpoint(name)]
    if beyond:
        raise InvalidField(
            field="allowed_checkpoints", problem=f"names a model that this key may not use: {beyond[0][:60]}"
        )
    return asked or maker.allowed_checkpoints


def _addresses(maker: ApiKey, asked: Sequence[str]) -> Sequence[str]:
    if not maker.allowed_addresses:
        return asked
    for text in asked:
        try:
            network = ip_network(text.strip())
        except ValueError:
            # insert_api_key says what is wrong with it.
            continue
        if not _is_covered(network, maker):
            raise InvalidField(
                field="allowed_addresses",
                problem=f"has a network that this key does not work from: {network}",
            )
    return asked or maker.allowed_addresses


def _is_covered(network: IPv4Network | IPv6Network, maker: ApiKey) -> bool:
    return any(_is_within(network, ip_network(text)) for text in maker.allowed_addresses)


def _is_within(network: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(outer, IPv4Network) and network.subnet_of(outer)
    return isinstance(outer, IPv6Network) and network.subnet_of(outer)
