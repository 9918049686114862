from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import Account
from apps.apikeys import keytext
from apps.apikeys.choices import Scope
from apps.apikeys.errors import ApiKeyInvalid, ApiKeyMissing, ScopeMissing
from apps.apikeys.models import ApiKey
from apps.apikeys.services import authenticate, require_scope, revoke_api_key
from apps.audit.refs import SYSTEM
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_key


def test_a_good_key_gives_its_account(cast: Cast, clock: FrozenClock) -> None:
    key = authenticate(presented=cast.key_text, address="203.0.113.9", now=clock.now())
    assert (key, key.account) == (cast.key, cast.account)


def test_a_key_in_use_costs_one_query(cast: Cast, clock: FrozenClock) -> None:
    authenticate(presented=cast.key_text, address=None, now=clock.now())
    with CaptureQueriesContext(
        connection,
    ) as queries:
        key = authenticate(presented=cast.key_text, address=None, now=clock.advance(seconds=59))
        assert key.account.slug == "ada"
    assert len(queries) == 1


def test_last_use_is_written_at_most_once_a_minute(cast: Cast, clock: FrozenClock) -> None:
    def last_used() -> object:
        return ApiKey.objects.get(pk=cast.key.pk).last_used_at

    first = clock.now()
    authenticate(presented=cast.key_text, address=None, now=first)
    assert last_used() == first
    authenticate(presented=cast.key_text, address=None, now=clock.advance(seconds=59))
    assert last_used() == first
    authenticate(presented=cast.key_text, address=None, now=clock.advance(seconds=1))
    assert last_used() == first + timedelta(minutes=1)


@pytest.mark.parametrize("presented", ["", "   "])
def test_no_key_is_said_to_be_missing(db: None, clock: FrozenClock, presented: str) -> None:
    with pytest.raises(ApiKeyMissing) as refusal:
        authenticate(presented=presented, address=None, now=clock.now())
    assert (refusal.value.http_status, refusal.value.code) == (401, "api_key_missing")
    assert str(refusal.value).startswith("An API key is required")


def test_a_typo_costs_no_query(cast: Cast, clock: FrozenClock) -> None:
    mistyped = cast.key_text[:-1] + ("a" if cast.key_text[-1] != "a" else "b")
    with CaptureQueriesContext(connection) as queries, pytest.raises(ApiKeyInvalid):
        authenticate(presented=mistyped, address=None, now=clock.now())
    assert len(queries) == 0


def _revoke(cast: Cast, clock: FrozenClock) -> None:
    revoke_api_key(key=cast.key, actor=SYSTEM, now=clock.now())


def _expire(cast: Cast, clock: FrozenClock) -> None:
    ApiKey.objects.filter(pk=cast.key.pk).update(expires_at=clock.now())


def _deactivate(cast: Cast, clock: FrozenClock) -> None:
    Account.objects.filter(pk=cast.account.pk).update(is_active=False)


def _bind_elsewhere(cast: Cast, clock: FrozenClock) -> None:
    ApiKey.objects.filter(pk=cast.key.pk).update(allowed_addresses=["10.0.0.0/8"])


def _change_secret(cast: Cast, clock: FrozenClock) -> None:
    ApiKey.objects.filter(pk=cast.key.pk).update(digest="0" * 64)


def _delete(cast: Cast, clock: FrozenClock) -> None:
    ApiKey.objects.filter(pk=cast.key.pk).delete()


@pytest.mark.parametrize("spoil", [_revoke, _expire, _deactivate, _bind_elsewhere, _change_secret, _delete])
def test_every_refusal_looks_the_same(
    cast: Cast, clock: FrozenClock, spoil: Callable[[Cast, FrozenClock], None]
) -> None:
    authenticate(presented=cast.key_text, address="203.0.113.9", now=clock.now())
    before = ApiKey.objects.filter(pk=cast.key.pk).values("last_used_at").first()
    spoil(cast, clock)
    clock.advance(hours=1)
    with pytest.raises(ApiKeyInvalid) as refusal:
        authenticate(presented=cast.key_text, address="203.0.113.9", now=clock.now())
    assert (refusal.value.http_status, refusal.value.code, str(refusal.value)) == (
        401,
        "api_key_invalid",
        "Invalid API key",
    )
    if spoil is not _delete:
        assert ApiKey.objects.filter(pk=cast.key.pk).values("last_used_at").first() == before


def test_another_keys_secret_does_not_fit(cast: Cast, clock: FrozenClock) -> None:
    ours, theirs = keytext.parse(cast.key_text), keytext.parse(cast.strangers_key_text)
    assert ours and theirs
    mixed = keytext.KeyText(prefix=ours.prefix, secret=theirs.secret)
    with pytest.raises(ApiKeyInvalid):
        authenticate(presented=mixed.plaintext, address=None, now=clock.now())


def test_the_pepper_is_part_of_the_digest(cast: Cast, clock: FrozenClock, settings: Any) -> None:
    settings.API_KEY_PEPPER = "another"
    with pytest.raises(ApiKeyInvalid):
        authenticate(presented=cast.key_text, address=None, now=clock.now())


def test_a_key_works_until_the_second_it_expires(cast: Cast, clock: FrozenClock) -> None:
    issued = make_key(cast.account, expires_at=clock.now() + timedelta(hours=1))
    last = clock.advance(minutes=59, seconds=59)
    assert authenticate(presented=issued.plaintext, address=None, now=last) == issued.key
    with pytest.raises(ApiKeyInvalid):
        authenticate(presented=issued.plaintext, address=None, now=clock.advance(seconds=1))


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("11.0.0.1", False),
        ("2001:db9::1", False),
        (None, False),
        ("", False),
        ("not an address", False),
    ],
)
def test_a_bound_key_works_from_its_networks_only(
    cast: Cast, clock: FrozenClock, address: str | None, is_allowed: bool
) -> None:
    issued = make_key(cast.account, allowed_addresses=["10.0.0.0/8", "2001:db8::/32"])
    if is_allowed:
        assert authenticate(presented=issued.plaintext, address=address, now=clock.now()) == issued.key
    else:
        with pytest.raises(ApiKeyInvalid):
            authenticate(presented=issued.plaintext, address=address, now=clock.now())


def test_a_key_is_refused_beyond_its_scopes(cast: Cast) -> None:
    key = make_key(cast.account, scopes=[Scope.JOBS_READ]).key
    require_scope(key=key, scope=Scope.JOBS_READ)
    with pytest.raises(ScopeMissing, match=r"lacks the scope images:generate\."):
        require_scope(key=key, scope=Scope.IMAGES_GENERATE)


def test_a_key_may_be_bound_to_checkpoints(cast: Cast) -> None:
    key = make_key(cast.account, allowed_checkpoints=["tiny"]).key
    assert key.allows_checkpoint("tiny") and not key.allows_checkpoint("large")
    assert cast.key.allows_checkpoint("large")
