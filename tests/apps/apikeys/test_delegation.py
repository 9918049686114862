"""What keys may do to keys: checked against the maker as it is then, not as it was when it signed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection

from apps.apikeys.choices import Scope
from apps.apikeys.delegation import access_key, issue_by_key, revoke_by_key
from apps.apikeys.errors import ApiKeyInvalid, KeyStronger
from apps.apikeys.models import ApiKey
from apps.apikeys.services import revoke_api_key, rotate_api_key
from apps.apikeys.terms import KeyTerms
from apps.core.errors import InvalidField, NotFound
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_key

DAY = timedelta(days=1)
NOTHING = KeyTerms(name="child")


def limits_of(clock: FrozenClock) -> dict[str, dict[str, Any]]:
    """Each limit that a key can have, alone."""
    return {
        "expires_at": {"expires_at": clock.now() + DAY},
        "allowed_checkpoints": {"allowed_checkpoints": ["tiny"]},
        "allowed_addresses": {"allowed_addresses": ["10.0.0.0/8"]},
        "daily_cap": {"daily_cap": 5},
        "monthly_cap": {"monthly_cap": 5},
        "queue_depth": {"queue_depth": 5},
        "max_parallel": {"max_parallel": 5},
    }


WIDER: dict[str, Callable[[FrozenClock], Any]] = {
    "expires_at": lambda clock: clock.now() + 2 * DAY,
    "allowed_checkpoints": lambda clock: ["tiny", "sdxl"],
    "allowed_addresses": lambda clock: ["10.0.0.0/8", "192.168.0.0/16"],
    "daily_cap": lambda clock: 6,
    "monthly_cap": lambda clock: 6,
    "queue_depth": lambda clock: 6,
    "max_parallel": lambda clock: 6,
}


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("expires_at", "works longer"),
        ("allowed_checkpoints", "may use other models"),
        ("allowed_addresses", "works from other networks"),
        ("daily_cap", "may make more calls a day"),
        ("monthly_cap", "may make more calls a month"),
        ("queue_depth", "may have more open requests"),
        ("max_parallel", "may have more requests run at once"),
    ],
)
@pytest.mark.parametrize("is_limited", [False, True])
def test_a_limited_key_ends_none_with_a_wider_limit(
    cast: Cast, clock: FrozenClock, limit: str, told: str, is_limited: bool
) -> None:
    maker = make_key(cast.account, **limits_of(clock)[limit]).key
    wider = make_key(cast.account, **({limit: WIDER[limit](clock)} if is_limited else {})).key

    with pytest.raises(KeyStronger, match=f"{wider.prefix}, which {told}"):
        revoke_by_key(maker=maker, prefix=wider.prefix, now=clock.now())
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


@pytest.mark.parametrize(
    "limit",
    [
        "expires_at",
        "allowed_checkpoints",
        "allowed_addresses",
        "daily_cap",
        "monthly_cap",
        "queue_depth",
        "max_parallel",
    ],
)
def test_a_limited_key_ends_its_equals_and_itself(cast: Cast, clock: FrozenClock, limit: str) -> None:
    maker = make_key(cast.account, **limits_of(clock)[limit]).key
    equal = make_key(cast.account, **limits_of(clock)[limit]).key

    for key in (equal, maker):
        assert revoke_by_key(maker=maker, prefix=key.prefix, now=clock.now()).revoked_at == clock.now()
    assert ApiKey.objects.exclude(revoked_at=None).count() == 2


@pytest.mark.parametrize("prefix", ["", "a\x00b", "ü", "x" * 99])
def test_what_is_no_prefix_is_not_found(cast: Cast, prefix: str) -> None:
    with pytest.raises(NotFound):
        access_key(maker=cast.key, prefix=prefix)


def test_a_smaller_network_is_no_wider(cast: Cast, clock: FrozenClock) -> None:
    maker = make_key(cast.account, allowed_addresses=["10.0.0.0/8", "2001:db8::/32"]).key
    key = make_key(cast.account, allowed_addresses=["10.1.0.0/16", "2001:db8::1/128"]).key

    revoke_by_key(maker=maker, prefix=key.prefix, now=clock.now())

    key.refresh_from_db()
    assert key.revoked_at == clock.now()


def test_a_key_that_is_rotated_meanwhile_makes_none_that_outlives_it(cast: Cast, clock: FrozenClock) -> None:
    stale = ApiKey.objects.select_related("account").get(pk=cast.key.pk)
    rotate_api_key(key=cast.key, overlap=DAY, actor=cast.ada.ref, now=clock.now())

    child = issue_by_key(maker=stale, now=clock.now(), terms=NOTHING).key
    assert child.expires_at == clock.now() + DAY
    with pytest.raises(InvalidField, match="expires_at must not be after"):
        issue_by_key(maker=stale, now=clock.now(), terms=replace(NOTHING, expires_at=clock.now() + 2 * DAY))


@pytest.mark.parametrize("end", ["revoked", "rotated", "account"])
def test_a_key_that_ends_meanwhile_does_nothing_more(cast: Cast, clock: FrozenClock, end: str) -> None:
    stale = ApiKey.objects.select_related("account").get(pk=cast.key.pk)
    other = make_key(cast.account).key
    match end:
        case "revoked":
            revoke_api_key(key=cast.key, actor=cast.ada.ref, now=clock.now())
        case "rotated":
            rotate_api_key(key=cast.key, overlap=timedelta(0), actor=cast.ada.ref, now=clock.now())
        case "account":
            cast.account.is_active = False
            cast.account.save()
    before = ApiKey.objects.count()

    with pytest.raises(ApiKeyInvalid):
        issue_by_key(maker=stale, now=clock.now(), terms=NOTHING)
    with pytest.raises(ApiKeyInvalid):
        revoke_by_key(maker=stale, prefix=other.prefix, now=clock.now())
    other.refresh_from_db()
    assert (ApiKey.objects.count(), other.revoked_at) == (before, None)


@pytest.mark.django_db(transaction=True)
def test_two_keys_that_end_each_other_do_not_wait_for_each_other(cast: Cast, clock: FrozenClock) -> None:
    now = clock.now()
    pairs = [[make_key(cast.account, scopes=[Scope.KEYS_WRITE]).key for _ in range(2)] for _ in range(8)]
    for pair in pairs:
        told = _race(pair, now)
        # The first ends the other, which then may do nothing more.
        assert sorted(told) == ["ApiKeyInvalid", "ended"]


def _race(pair: list[ApiKey], now: Any) -> list[str]:
    gate = Barrier(2)
    told: list[str] = []

    def end(maker: ApiKey, other: ApiKey) -> None:
        try:
            connection.ensure_connection()
            gate.wait(60)
            revoke_by_key(maker=maker, prefix=other.prefix, now=now)
            told.append("ended")
        except Exception as error:  # noqa: BLE001  # a thread's failure must reach the test
            told.append(type(error).__name__)
        finally:
            connection.close()

    threads = [Thread(target=end, args=each) for each in (pair, pair[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told
