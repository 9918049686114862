"""Keys that make keys: what a key passes on is at most what it has.

A key is no stronger than another if it has no scope, model, address, hour, call or place in the queue that
the other lacks.
What counts is the maker as it is when it acts, its row locked: whoever revokes or rotates it comes before its
last act or after it, not in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from django.db import transaction

from apps.apikeys.choices import DEFAULT_SCOPES, Scope
from apps.apikeys.errors import ApiKeyInvalid, KeyStronger
from apps.apikeys.models import ApiKey
from apps.apikeys.services import IssuedKey, end_api_key, insert_api_key, require_scope
from apps.apikeys.terms import KeyTerms
from apps.core.errors import Conflict, InvalidField, NotFound

CAPS: Final = {
    "daily_cap": "a daily cap",
    "monthly_cap": "a monthly cap",
    "queue_depth": "a limit of open requests",
    "max_parallel": "a limit of parallel requests",
}
"""Limits in numbers, in the words of who asks for another key."""
MORE: Final = {
    "daily_cap": "may make more calls a day",
    "monthly_cap": "may make more calls a month",
    "queue_depth": "may have more open requests",
    "max_parallel": "may have more requests run at once",
}
"""The same, in the words of what a stronger key may do."""


def issue_by_key(*, maker: ApiKey, terms: KeyTerms, now: datetime) -> IssuedKey:
    """A key of the maker's account, no stronger than the maker.

    What is not asked for is as with the maker; scopes are then the usual ones that the maker has.

    Raises ScopeMissing for a scope that the maker lacks, InvalidField for anything else that it may not pass
    on, ApiKeyInvalid for a maker that has ended meanwhile, and Conflict for makers with a limit in numbers:
    two keys with it would be twice the limit.
    """
    with transaction.atomic(durable=True):
        live = _lock(maker, now=now)[maker.pk]
        _require_uncapped(live)
        wish = replace(
            terms,
            scopes=_scopes(live, terms.scopes),
            expires_at=_end(live, terms.expires_at),
            allowed_checkpoints=_models(live, terms.allowed_checkpoints),
            allowed_addresses=_addresses(live, terms.allowed_addresses),
        )
        return insert_api_key(account=live.account, terms=wish, actor=live.ref, now=now)


def _require_uncapped(maker: ApiKey) -> None:
    for field, words in CAPS.items():
        if getattr(maker, field) is not None:
            raise Conflict(
                problem=f"A key with {words} makes no other keys; use one without, or the console."
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
    for field, words in MORE.items():
        most, own = getattr(maker, field), getattr(key, field)
        if most is not None and (own is None or own > most):
            yield words


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


def _scopes(maker: ApiKey, asked: Sequence[Scope] | None) -> Sequence[Scope]:
    wanted = [scope for scope in DEFAULT_SCOPES if maker.allows_scope(scope)] if asked is None else asked
    for scope in wanted:
        require_scope(key=maker, scope=scope)
    return list(dict.fromkeys(wanted))


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
