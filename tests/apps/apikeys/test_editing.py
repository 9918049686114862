"""A key that changes: its text stays, the audit log says what is different."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.apikeys.portal import portal_key
from apps.apikeys.services import authenticate, edit_api_key, revoke_api_key
from apps.apikeys.terms import KeyTerms, terms_of
from apps.audit.models import AuditEvent
from apps.core.errors import Conflict, InvalidField
from tests.cast import Cast
from tests.clocks import FrozenClock


def edit(cast: Cast, clock: FrozenClock, terms: KeyTerms, key: ApiKey | None = None) -> ApiKey:
    return edit_api_key(key=key or cast.key, terms=terms, actor=cast.ada.ref, now=clock.now())


def test_an_edited_key_keeps_its_text_and_has_the_new_terms(cast: Cast, clock: FrozenClock) -> None:
    wanted = KeyTerms(
        name="renamed",
        scopes=[Scope.JOBS_READ],
        expires_at=clock.now() + timedelta(days=9),
        allowed_checkpoints=["tiny"],
        allowed_addresses=["10.0.0.0/8"],
        daily_cap=4,
        monthly_cap=5,
        queue_depth=6,
        max_parallel=7,
    )
    edit(cast, clock, wanted)

    found = authenticate(presented=cast.key_text, address="10.1.2.3", now=clock.now())
    assert terms_of(found) == wanted
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.actor_label) == ("apikeys.key.edited", "ada@example.com")
    assert event.data["queue_depth"] == [None, 6]
    assert event.data["name"] == [cast.key.name, "renamed"]


def test_the_same_again_is_no_event(cast: Cast, clock: FrozenClock) -> None:
    before = AuditEvent.objects.count()
    edit(cast, clock, terms_of(cast.key))
    edit(cast, clock, replace(terms_of(cast.key), daily_cap=3))
    edit(cast, clock, replace(terms_of(cast.key), daily_cap=3))
    assert AuditEvent.objects.count() == before + 1


def test_bad_terms_change_nothing(cast: Cast, clock: FrozenClock) -> None:
    before = (ApiKey.objects.filter(pk=cast.key.pk).values().get(), AuditEvent.objects.count())
    changes: tuple[dict[str, Any], ...] = (
        {"name": ""},
        {"scopes": []},
        {"max_parallel": 0},
        {"expires_at": clock.now()},
    )
    for change in changes:
        with pytest.raises(InvalidField, match=next(iter(change))):
            edit(cast, clock, replace(terms_of(cast.key), **change))
    assert (ApiKey.objects.filter(pk=cast.key.pk).values().get(), AuditEvent.objects.count()) == before


@pytest.mark.parametrize("end", ["revoked", "expired", "portal's"])
def test_what_has_ended_or_is_the_portals_is_not_edited(cast: Cast, clock: FrozenClock, end: str) -> None:
    key = cast.key
    terms = replace(terms_of(key), name="back again")
    if end == "revoked":
        revoke_api_key(key=ApiKey.objects.get(pk=key.pk), actor=cast.ada.ref, now=clock.now())
    elif end == "expired":
        ApiKey.objects.filter(pk=key.pk).update(expires_at=clock.now())
    else:
        key = portal_key(account=cast.account, now=clock.now())
    with pytest.raises(Conflict):
        edit(cast, clock, terms, key)
    assert not ApiKey.objects.filter(name="back again").exists()
