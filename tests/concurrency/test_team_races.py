"""Owners who leave at once, guests who want the last seat, one letter clicked many times.

DARKROOM_DRILL_COUNT sets the rounds; the controls show what happens where nobody waits for the account's row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from apps.accounts import invitations, members
from apps.accounts.choices import Role
from apps.accounts.errors import InvitationUnusable, LastOwner, SeatsTaken
from apps.accounts.models import Account, Membership, User
from apps.accounts.seats import require_seat
from apps.accounts.services import add_member
from apps.audit.refs import SYSTEM
from apps.core import clock
from apps.mails.models import Mail
from tests.apps.generation.studio import PATIENCE_S
from tests.concurrency.racing import DRILL_S, Track
from tests.drills.counting import drill_count
from tests.factories import give_plan, make_account, make_plan

ROUNDS = 5
GUESTS = 4

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(DRILL_S)]


def owned(name: str, owners: int) -> tuple[Account, list[Membership]]:
    """An account and the memberships of its owners, the oldest first."""
    account = make_account(name)
    for number in range(owners):
        user = person(f"owner{number}@{name}.example")
        add_member(account=account, user=user, role=Role.OWNER, actor=SYSTEM, now=clock.now())
    return account, list(Membership.objects.filter(account=account).order_by("pk"))


def person(email: str) -> User:
    return User.objects.create(email=email, date_joined=clock.now())


def owners_of(account: Account) -> int:
    return Membership.objects.filter(account=account, role=Role.OWNER).count()


def leaving(each: Membership) -> partial[None]:
    return partial(members.leave, membership=each, now=clock.now())


def demoting(by: Membership, other: Membership) -> partial[None]:
    return partial(members.change_role, by=by, member_id=other.pk, role=Role.VIEWER, now=clock.now())


def test_of_two_owners_who_leave_at_once_one_stays() -> None:
    with Track(2).open() as track:
        for number in range(drill_count(ROUNDS)):
            account, two = owned(f"leaving-{number}", 2)
            assert track.race([leaving(each) for each in two], LastOwner) == {None: 1, LastOwner: 1}
            assert owners_of(account) == 1


def test_of_two_owners_who_demote_themselves_at_once_one_stays() -> None:
    with Track(2).open() as track:
        for number in range(drill_count(ROUNDS)):
            account, two = owned(f"demoting-{number}", 2)
            assert track.race([demoting(each, each) for each in two], LastOwner) == {None: 1, LastOwner: 1}
            assert owners_of(account) == 1


def letter_to(owner: Membership, guest: User) -> str:
    """The token of an invitation's letter."""
    sent = invitations.invite(by=owner, email=guest.email, role=Role.VIEWER, now=clock.now())
    letter = Mail.objects.get(key__startswith=f"invitation:{sent.pk}:")
    found = re.search(r"/portal/join/(\S+)", letter.text)
    assert found
    return found.group(1)


def guests_of_the_last_seat(name: str) -> tuple[Account, list[Callable[[], Any]]]:
    """An account with one seat left and letters to several, sent while there was room for all."""
    account, [owner] = owned(name, 1)
    give_plan(account, seats=1 + GUESTS)
    guests = [person(f"guest{number}@{name}.example") for number in range(GUESTS)]
    tokens = [letter_to(owner, guest) for guest in guests]
    give_plan(account, seats=2)
    now = clock.now()
    return account, [
        partial(invitations.accept, token=token, user=guest, now=now)
        for token, guest in zip(tokens, guests, strict=True)
    ]


def test_the_last_seat_goes_to_one_guest() -> None:
    with Track(GUESTS).open() as track:
        for number in range(drill_count(ROUNDS)):
            account, acts = guests_of_the_last_seat(f"seats-{number}")
            assert track.race(acts, SeatsTaken) == {None: 1, SeatsTaken: GUESTS - 1}
            assert account.memberships.count() == 2


def test_one_letter_is_used_once_however_often_it_is_clicked() -> None:
    make_plan()
    with Track(GUESTS).open() as track:
        for number in range(drill_count(ROUNDS)):
            account, [owner] = owned(f"letters-{number}", 1)
            guest = person(f"guest@letters-{number}.example")
            click = partial(invitations.accept, token=letter_to(owner, guest), user=guest, now=clock.now())
            assert track.race([click] * GUESTS, InvitationUnusable) == {
                None: 1,
                InvitationUnusable: GUESTS - 1,
            }
            assert account.memberships.filter(user=guest).count() == 1


def looking_together(check: Callable[..., None], racers: int) -> Callable[..., None]:
    """As `check`, but nobody writes before everybody was let through: what the lock must make impossible."""
    everybody_looked = Barrier(racers)

    def check_and_wait(*given: Any, **named: Any) -> None:
        check(*given, **named)
        everybody_looked.wait(PATIENCE_S)

    return check_and_wait


def test_control_without_the_lock_both_owners_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    account, two = owned("unlocked", 2)
    monkeypatch.setattr(members, "lock_account", lambda given: given)
    monkeypatch.setattr(members, "_require_other_owner", looking_together(members._require_other_owner, 2))
    with Track(2).open() as track:
        assert track.race([leaving(each) for each in two], LastOwner) == {None: 2}
    assert owners_of(account) == 0


def test_control_without_the_lock_all_guests_sit_down(monkeypatch: pytest.MonkeyPatch) -> None:
    account, acts = guests_of_the_last_seat("unlocked")
    monkeypatch.setattr(invitations, "lock_account", lambda given: given)
    monkeypatch.setattr(invitations, "require_seat", looking_together(require_seat, GUESTS))
    with Track(GUESTS).open() as track:
        assert track.race(acts, SeatsTaken) == Counter({None: GUESTS})
    assert account.memberships.count() == 1 + GUESTS
