from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apps.apikeys.choices import Scope
from apps.apikeys.errors import ApiKeyInvalid
from apps.apikeys.models import ApiKey
from apps.apikeys.services import authenticate, create_api_key, revoke_api_key, rotate_api_key
from apps.apikeys.terms import KeyTerms, terms_of
from apps.audit.models import AuditEvent
from apps.core.errors import Conflict, InvalidField
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_key


def test_the_row_cannot_give_the_key_back(cast: Cast, clock: FrozenClock) -> None:
    issued = create_api_key(
        account=cast.account,
        terms=KeyTerms(name=" ci ", scopes=[Scope.JOBS_READ]),
        actor=cast.ada.ref,
        now=clock.now(),
    )
    key = ApiKey.objects.get(pk=issued.key.pk)
    secret = issued.plaintext.split("_")[2]
    assert (key.name, key.scopes, key.created_at) == ("ci", ["jobs:read"], clock.now())
    assert secret not in str(ApiKey.objects.filter(pk=key.pk).values())
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.actor_label) == ("apikeys.key.created", "ada@example.com")
    assert secret not in str(event.as_evidence())


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("name", {"name": "  "}),
        ("name", {"name": "x" * 101}),
        ("scopes", {"scopes": []}),
        ("allowed_addresses", {"allowed_addresses": ["10.0.0.1/8"]}),
        ("allowed_addresses", {"allowed_addresses": ["everywhere"]}),
        ("expires_at", {"expires_at": "now"}),
        ("queue_depth", {"queue_depth": -1}),
        ("max_parallel", {"max_parallel": 0}),
    ],
)
def test_an_unusable_key_is_refused(
    cast: Cast, clock: FrozenClock, field: str, change: dict[str, Any]
) -> None:
    if "expires_at" in change:
        change = {"expires_at": clock.now()}
    before = (ApiKey.objects.count(), AuditEvent.objects.count())
    with pytest.raises(InvalidField) as refusal:
        make_key(cast.account, **change)
    assert refusal.value.field == field
    assert (ApiKey.objects.count(), AuditEvent.objects.count()) == before


def test_a_revocation_holds_from_the_next_request_on(cast: Cast, clock: FrozenClock) -> None:
    revoke_api_key(key=cast.key, actor=cast.otto.ref, now=clock.now())
    with pytest.raises(ApiKeyInvalid):
        authenticate(presented=cast.key_text, address=None, now=clock.now())
    assert AuditEvent.objects.latest("id").name == "apikeys.key.revoked"


def test_revoking_twice_is_a_conflict(cast: Cast, clock: FrozenClock) -> None:
    revoke_api_key(key=cast.key, actor=cast.otto.ref, now=clock.now())
    before = AuditEvent.objects.count()
    with pytest.raises(Conflict):
        revoke_api_key(key=cast.key, actor=cast.otto.ref, now=clock.advance(hours=1))
    assert AuditEvent.objects.count() == before


def test_after_a_rotation_both_keys_work_for_the_overlap(cast: Cast, clock: FrozenClock) -> None:
    issued = rotate_api_key(key=cast.key, overlap=timedelta(days=7), actor=cast.ada.ref, now=clock.now())
    clock.advance(days=7, seconds=-1)
    for text in (cast.key_text, issued.plaintext):
        assert authenticate(presented=text, address=None, now=clock.now()).account == cast.account
    clock.advance(seconds=1)
    with pytest.raises(ApiKeyInvalid):
        authenticate(presented=cast.key_text, address=None, now=clock.now())
    assert authenticate(presented=issued.plaintext, address=None, now=clock.now()) == issued.key


def test_a_successor_has_the_same_rights(cast: Cast, clock: FrozenClock) -> None:
    old = make_key(
        cast.account,
        scopes=[Scope.JOBS_READ],
        allowed_addresses=["10.0.0.0/8"],
        allowed_checkpoints=["tiny"],
        daily_cap=5,
        queue_depth=4,
        max_parallel=3,
        expires_at=clock.now() + timedelta(days=1),
    ).key
    new = rotate_api_key(key=old, overlap=timedelta(days=7), actor=cast.ada.ref, now=clock.now()).key
    assert (new.account_id, terms_of(new)) == (old.account_id, terms_of(old))
    old.refresh_from_db()
    # The overlap never prolongs a key.
    assert (old.expires_at, old.replaced_by) == (clock.now() + timedelta(days=1), new)


def test_an_ended_or_replaced_key_cannot_be_rotated(cast: Cast, clock: FrozenClock) -> None:
    rotate_api_key(key=cast.key, overlap=timedelta(days=7), actor=cast.ada.ref, now=clock.now())
    revoke_api_key(key=cast.strangers_key, actor=cast.cleo.ref, now=clock.now())
    before = (ApiKey.objects.count(), AuditEvent.objects.count())
    for key in (cast.key, cast.strangers_key):
        with pytest.raises(Conflict):
            rotate_api_key(key=key, overlap=timedelta(days=7), actor=cast.ada.ref, now=clock.now())
    assert (ApiKey.objects.count(), AuditEvent.objects.count()) == before


@pytest.mark.parametrize(
    "values", [{"prefix": "TOO LONG"}, {"digest": "plain text"}, {"scopes": ["everything"]}]
)
def test_the_database_refuses_malformed_keys(cast: Cast, values: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=cast.key.pk).update(**values)
