from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.accounts.services import (
    add_member,
    change_account,
    create_account,
    create_operator,
    set_active,
    set_password,
)
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.core.errors import Conflict, InvalidField
from tests.cast import OTTO_PASSWORD, Cast
from tests.clocks import FrozenClock


def _events() -> list[str]:
    return list(AuditEvent.objects.order_by("id").values_list("name", flat=True))


def test_creating_an_account_is_audited(db: None, clock: FrozenClock) -> None:
    account = create_account(name="Ada", slug="ada", time_zone="Europe/Berlin", actor=SYSTEM, now=clock.now())
    assert (account.slug, account.time_zone, account.is_active) == ("ada", "Europe/Berlin", True)
    event = AuditEvent.objects.get()
    assert (event.name, event.subject_label, event.account_id) == (
        "accounts.account.created",
        "ada",
        account.pk,
    )


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("time_zone", {"time_zone": "Mars/Olympus"}),
        ("time_zone", {"time_zone": "/etc/passwd"}),
        ("slug", {"slug": "Not A Slug"}),
        ("slug", {"slug": "-x"}),
        ("name", {"name": ""}),
    ],
)
def test_an_unusable_account_is_refused(
    db: None, clock: FrozenClock, field: str, change: dict[str, Any]
) -> None:
    values = {"name": "Ada", "slug": "ada", "time_zone": "UTC"} | change
    with pytest.raises(InvalidField) as refusal:
        create_account(**values, actor=SYSTEM, now=clock.now())
    assert refusal.value.field == field
    assert (Account.objects.count(), _events()) == (0, [])


def test_a_taken_slug_is_refused_and_nothing_is_written(cast: Cast, clock: FrozenClock) -> None:
    before = _events()
    with pytest.raises(Conflict, match="slug 'ada'"):
        create_account(name="Ada again", slug="ada", actor=SYSTEM, now=clock.now())
    assert Account.objects.count() == 2
    assert _events() == before


def test_changing_an_account_records_before_and_after(cast: Cast, clock: FrozenClock) -> None:
    change_account(
        account=cast.account,
        name="Ada's",
        time_zone="Asia/Tokyo",
        is_active=False,
        safety="block",
        actor=cast.otto.ref,
        now=clock.now(),
    )
    changed = Account.objects.values_list("name", "time_zone", "is_active", "safety")
    assert changed.get(pk=cast.account.pk) == ("Ada's", "Asia/Tokyo", False, "block")
    event = AuditEvent.objects.latest("id")
    assert event.data == {
        "before": ["Ada", "UTC", True, ""],
        "after": ["Ada's", "Asia/Tokyo", False, "block"],
    }
    assert event.actor_label == "otto@example.com"


def test_a_generated_password_signs_the_operator_in(db: None, clock: FrozenClock) -> None:
    created = create_operator(email="Mia@Example.com", password=None, actor=SYSTEM, now=clock.now())
    assert created.password is not None and len(created.password) == 24
    assert authenticate(username="mia@example.com", password=created.password) == created.user
    assert authenticate(username="mia@example.com", password="wrong") is None
    assert created.password not in str(AuditEvent.objects.values())


@pytest.mark.parametrize("password", ["short", "password1234"])
def test_a_weak_password_is_refused(db: None, clock: FrozenClock, password: str) -> None:
    with pytest.raises(InvalidField):
        create_operator(email="mia@example.com", password=password, actor=SYSTEM, now=clock.now())
    assert User.objects.count() == 0


def test_addresses_differing_in_case_are_one_person(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(Conflict):
        create_operator(email="OTTO@example.com", password=None, actor=SYSTEM, now=clock.now())
    assert User.objects.count() == 4


def test_only_operators_have_permissions(cast: Cast) -> None:
    assert cast.otto.has_perm("anything") and cast.otto.has_module_perms("audit")
    assert not cast.ada.has_perm("anything") and not cast.ada.has_module_perms("audit")


def test_a_deactivated_operator_has_none(cast: Cast, clock: FrozenClock) -> None:
    set_active(user=cast.otto, is_active=False, actor=SYSTEM, now=clock.now())
    assert not cast.otto.has_perm("anything")
    assert authenticate(username="otto@example.com", password=OTTO_PASSWORD) is None
    assert _events()[-1] == "accounts.user.deactivated"


def test_a_new_password_replaces_the_old_one(cast: Cast, clock: FrozenClock) -> None:
    set_password(user=cast.otto, password="another good one", actor=cast.otto.ref, now=clock.now())
    assert authenticate(username="otto@example.com", password=OTTO_PASSWORD) is None
    assert authenticate(username="otto@example.com", password="another good one") == cast.otto


def test_adding_a_member_twice_changes_the_role(cast: Cast, clock: FrozenClock) -> None:
    add_member(account=cast.account, user=cast.ben, role=Role.BILLING, actor=cast.ada.ref, now=clock.now())
    assert Membership.objects.get(account=cast.account, user=cast.ben).role == "billing"
    assert Membership.objects.count() == 3


def test_the_database_knows_the_roles(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(
            account=cast.strangers_account, user=cast.ada, role="emperor", created_at=clock.now()
        )
